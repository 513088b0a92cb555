// Values of rows as nodes of the page, made without a component for each: a table has hundreds of them and makes them anew while one scrolls.
import { h, type VNode } from 'vue'
import { ago, bytes, mib, percent, when } from '@/format'
import { tone } from '@/status'
import { resources } from '@/resources'
import { osSign } from './os'
import type { Row } from '@/api/resource'
import type { Column } from '@/resources/types'

/** How words are found: vue-i18n's own functions and the language. */
export interface Tongue {
  t: (key: string, args?: Record<string, unknown>) => string
  te: (key: string) => boolean
  locale: string
}

const nothing = () => h('span', { class: 'dim' }, '–')

/** A stopped server is `ready` on the wire. */
export function statusShape(word: string | undefined, plural: string | undefined, { t, te }: Tongue): VNode {
  if (!word) return nothing()
  const key = plural === 'servers' && word === 'ready' ? 'status.stopped' : `status.${word}`
  return h('span', { class: `status ${tone(word, plural)}`, 'data-status': word }, [h('i', { 'aria-hidden': 'true' }), te(key) ? t(key) : word])
}

/** `text` empty: the bar alone. */
export function meterShape(part: number, whole: number, more: { text?: string; label?: string; steady?: boolean } = {}): VNode {
  const share = percent(part, whole)
  const level = more.steady ? '' : share >= 95 ? ' full' : share >= 80 ? ' high' : ''
  const text = more.text ?? `${share} %`
  const bar = h('span', { class: `meter${level}`, role: 'meter', 'aria-valuenow': share, 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-label': more.label ?? (text || `${share} %`) }, [h('b', { style: { width: `${share}%` } })])
  return h('span', { class: 'meter-line' }, text ? [bar, h('span', { class: 'num soft' }, text)] : [bar])
}

export const valueOf = (column: Column, row: Row): any => (column.value ? column.value(row) : row[column.key])
/** The page of the row that a value names; empty when it names none. */
export function targetOf(column: Column, row: Row): string {
  const [plural, field] = column.link ?? []
  return plural && resources[plural] && field && row[field] ? `/${plural}/${row[field]}` : ''
}

export function textOf(column: Column, v: any, plural: string, { t, te }: Tongue): string {
  if (column.as === 'mib') return mib(v)
  if (column.as === 'bytes') return bytes(v)
  if (column.as === 'bool') return t(v ? 'ui.yes' : 'ui.no')
  if (column.as === 'list') return (v as unknown[]).join(', ')
  if (plural === 'tasks' && column.key === 'name' && te(`taskname.${v}`)) return t(`taskname.${v}`)
  if (plural === 'tasks' && column.key === 'stage') {
    const key = `step.${String(v).replace(/ /g, '_')}`
    if (te(key)) return t(key)
  }
  return typeof v === 'string' && !column.link && column.key !== 'name' && te(`option.${v}`) ? t(`option.${v}`) : String(v)
}

/** One value as its column says; links are plain anchors, whoever shows them sees to their clicks. */
export function shapeOf(column: Column, row: Row, plural: string, tongue: Tongue): VNode {
  const v = valueOf(column, row)
  if ((v === undefined || v === null || v === '' || (Array.isArray(v) && !v.length)) && column.as !== 'bool') return nothing()
  switch (column.as) {
    case 'status':
      return statusShape(v, plural, tongue)
    case 'percent': {
      const [part, whole] = v as [number, number]
      if (plural === 'tasks') return meterShape(part, whole, { steady: true, label: tongue.t('field.progress') })
      const show = v[2] === 'mib' ? mib : String
      return meterShape(part, whole, { text: whole < 0 ? `${show(part)} / ∞` : `${show(part)} / ${show(whole)}` })
    }
    case 'time':
      return h('time', { datetime: v, title: when(v, tongue.locale) }, ago(v, tongue.locale))
    case 'json':
      return h('pre', { class: 'json' }, JSON.stringify(v, null, 2))
    case 'os':
      return h('span', null, [osSign(v), textOf(column, v, plural, tongue)])
    case 'mono':
      return h('code', String(v))
  }
  const text = textOf(column, v, plural, tongue)
  const target = targetOf(column, row)
  if (target) return h('a', { href: target }, text)
  return h('span', { class: typeof v === 'number' || column.as === 'mib' || column.as === 'bytes' ? 'num' : column.as === 'bool' && !v ? 'dim' : undefined }, text)
}
