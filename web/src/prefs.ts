// What this browser remembers of how its user likes the console: theme, language, columns, filters. Never anything of the cloud itself.
import { reactive, watch } from 'vue'

interface Prefs {
  theme: 'light' | 'dark' | 'system'
  lang: 'en' | 'zh-CN'
  columns: Record<string, string[]>
  filters: Record<string, { name: string; query: Record<string, string> }[]>
  dock: boolean
}
const KEY = 'wolke.prefs'
const first: Prefs = { theme: 'system', lang: navigator.language.startsWith('zh') ? 'zh-CN' : 'en', columns: {}, filters: {}, dock: false }

function stored(): Partial<Prefs> {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? '{}')
  } catch {
    return {}
  }
}
export const prefs = reactive<Prefs>({ ...first, ...stored() })
watch(prefs, () => localStorage.setItem(KEY, JSON.stringify(prefs)), { deep: true })

const dark = matchMedia('(prefers-color-scheme: dark)')
export const isDark = () => prefs.theme === 'dark' || (prefs.theme === 'system' && dark.matches)
const paint = () => (document.documentElement.dataset.theme = isDark() ? 'dark' : 'light')
watch(() => prefs.theme, paint, { immediate: true })
dark.addEventListener('change', paint)
