// Where the words of a language are, and which is spoken. Knows no library, so that they can be asked for at once.
export type Lang = 'en' | 'zh-CN'
const loaders = { en: () => import('./en'), 'zh-CN': () => import('./zh') }
export const wordsOf = (lang: Lang) => loaders[lang]()

export const PREFS = 'wolke.prefs'
/** What the browser has kept for this console. */
export const stored: Record<string, unknown> = (() => {
  try {
    return JSON.parse(localStorage.getItem(PREFS) ?? '{}') ?? {}
  } catch {
    return {}
  }
})()
export const spoken: Lang = stored.lang === 'en' || stored.lang === 'zh-CN' ? stored.lang : navigator.language.startsWith('zh') ? 'zh-CN' : 'en'
