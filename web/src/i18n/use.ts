// The words of pages. Most have nothing to put in: those are looked up, and only the others are put together by the library; a first page asks for
// some hundred of them.
import { shallowRef } from 'vue'
import { i18n } from '.'

/** Every sentence of the language spoken, by its key. */
const words = shallowRef(new Map<string, string>())
const PLAIN = /^[^{@|]*$/

export function speakWith(tree: object) {
  const all = new Map<string, string>()
  const walk = (of: object, at: string) => {
    for (const [key, v] of Object.entries(of)) typeof v === 'string' ? all.set(at + key, v) : walk(v, `${at}${key}.`)
  }
  walk(tree, '')
  words.value = all
}

export function t(key: string, args?: Record<string, unknown>): string {
  const text = words.value.get(key)
  return text !== undefined && PLAIN.test(text) ? text : i18n.global.t(key, args ?? {})
}
export const te = (key: string): boolean => words.value.has(key)
export const useI18n = () => ({ t, te, locale: i18n.global.locale })
