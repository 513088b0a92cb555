// What this browser remembers of how its user likes the console: theme, language, columns, filters. Never anything of the cloud itself.
import { reactive, watch } from 'vue'
import { PREFS, spoken, stored } from './i18n/words'

interface Prefs {
  theme: 'light' | 'dark' | 'system'
  lang: 'en' | 'zh-CN'
  columns: Record<string, string[]>
  filters: Record<string, { name: string; query: Record<string, string> }[]>
  dock: boolean
}
const first: Prefs = { theme: 'system', lang: spoken, columns: {}, filters: {}, dock: false }
export const prefs = reactive<Prefs>({ ...first, ...(stored as Partial<Prefs>), lang: spoken })
watch(prefs, () => localStorage.setItem(PREFS, JSON.stringify(prefs)), { deep: true })

const dark = matchMedia('(prefers-color-scheme: dark)')
export const isDark = () => prefs.theme === 'dark' || (prefs.theme === 'system' && dark.matches)
const paint = () => (document.documentElement.dataset.theme = isDark() ? 'dark' : 'light')
watch(() => prefs.theme, paint, { immediate: true })
dark.addEventListener('change', paint)
