// Words in the user's language; a language is loaded when it is first spoken.
import { createI18n, type MessageCompiler, type MessageContext } from 'vue-i18n'
import { speak } from '@/api/http'
import { prefs } from '@/prefs'
import { speakWith } from './use'
import { wordsOf, type Lang } from './words'

export type { Lang }
/** Sentences have names in braces and nothing else: their own few lines in the place of a compiler that every page would load. */
const messageCompiler = (message: unknown) => (ctx: MessageContext<string>) => String(message).replace(/\{(\w+)\}/g, (_, name) => String(ctx.named(name) ?? ''))
export const i18n = createI18n({ messageCompiler: messageCompiler as MessageCompiler, legacy: false, locale: prefs.lang, fallbackLocale: false, missingWarn: import.meta.env.DEV, messages: {} as Record<string, any> })

export async function setLanguage(lang: Lang) {
  const words = (await wordsOf(lang)).default
  i18n.global.setLocaleMessage(lang, words)
  speakWith(words)
  ;(i18n.global.locale as unknown as { value: string }).value = lang
  prefs.lang = lang
  document.documentElement.lang = lang
  speak(lang)
}
export const ready = setLanguage(prefs.lang)
