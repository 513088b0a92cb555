// Words in the user's language; a language is loaded when it is first spoken.
import { createI18n } from 'vue-i18n'
import { speak } from '@/api/http'
import { prefs } from '@/prefs'
import { wordsOf, type Lang } from './words'

export type { Lang }
export const i18n = createI18n({ legacy: false, locale: prefs.lang, fallbackLocale: false, missingWarn: import.meta.env.DEV, messages: {} as Record<string, any> })
const loaded = new Set<Lang>()

export async function setLanguage(lang: Lang) {
  if (!loaded.has(lang)) {
    i18n.global.setLocaleMessage(lang, (await wordsOf(lang)).default)
    loaded.add(lang)
  }
  ;(i18n.global.locale as unknown as { value: string }).value = lang
  prefs.lang = lang
  document.documentElement.lang = lang
  speak(lang)
}
export const ready = setLanguage(prefs.lang)
