// Where the words of a language are. Knows no library, so that they can be asked for at once.
export type Lang = 'en' | 'zh-CN'
const loaders = { en: () => import('./en'), 'zh-CN': () => import('./zh') }
export const wordsOf = (lang: Lang) => loaders[lang]()
