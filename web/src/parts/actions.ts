// Carrying actions out: what may be done to rows and why not, and what became of it.
import { reactive } from 'vue'
import { useI18n } from '@/i18n/use'
import { useRouter } from 'vue-router'
import { act, each, show, update, type Outcome, type Row } from '@/api/resource'
import { del } from '@/api/http'
import { may } from '@/api/session'
import type { Action, Description, Words } from '@/resources/types'
import { say } from '@/ui/toast'

/** What the one dialog of the page is asked to do; the shell shows it. */
export const asked = reactive<{ job: null | { of: Description; action: Action; rows: Row[]; done?: (outcomes: Outcome[]) => void; expect?: (id: string, values: Partial<Row>) => void } }>({ job: null })

export function useActions() {
  const { t, te } = useI18n()
  const router = useRouter()

  const words = (w: Words | null | undefined): string | null => {
    if (!w) return null
    const args = { ...w[1] } as Record<string, any>
    const status = (s: string) => (te(`status.${s}`) ? t(`status.${s}`) : s)
    if (args.status) args.status = status(args.status)
    if (Array.isArray(args.wanted)) args.wanted = args.wanted.map((s: string) => (s === 'ready' ? t('status.stopped') : status(s))).join(' / ')
    if (args.word) args.word = t(`option.${args.word}`)
    return t(w[0], args)
  }
  const allowed = (d: Description) => d.actions.filter((a) => may(a.right))
  /** Actions of one row. Those of the recycle bin show only there. */
  const offered = (d: Description, row: Row) => allowed(d).filter((a) => (a.key === 'cancel-delete' || a.key === 'destroy' ? row.pending_deleted : !row.pending_deleted || a.key === 'syncstatus'))
  const why = (a: Action, rows: Row[]): string | null => {
    if (!rows.length) return t('why.none')
    const refused = rows.map((r) => a.why?.(r)).filter(Boolean)
    if (!refused.length) return null
    return rows.length === 1 ? words(refused[0]) : refused.length === rows.length ? t('why.all', { why: words(refused[0]) }) : null
  }

  async function run(d: Description, a: Action, rows: Row[], values: Record<string, any>): Promise<Outcome[]> {
    const body = (row: Row) => (a.body ? a.body(values, row) : values)
    const path = a.wire ?? a.key
    if (rows.length > 1) {
      const fit = rows.filter((r) => !a.why?.(r))
      const left = rows.filter((r) => a.why?.(r)).map((r): Outcome => ({ id: r.id, error: new Error(words(a.why!(r)) ?? '') as any }))
      return [...(await each(d.plural, fit.map((r) => r.id), a.method === 'delete' ? 'delete' : a.method === 'update' ? 'update' : path, body(rows[0]), a.query)), ...left]
    }
    const [row] = rows
    const made = a.method === 'delete' ? await del(`/v1/${d.plural}/${row.id}`, a.query) : a.method === 'update' ? await update(d.plural, row.id, body(row)) : await act(d.plural, row.id, path, body(row))
    return [{ id: row.id, data: made }]
  }

  function told(d: Description, a: Action, rows: Row[], outcomes: Outcome[]) {
    const good = outcomes.filter((o) => !o.error)
    if (!good.length) return
    const name = rows.length === 1 ? (rows[0].name ?? rows[0].id) : t('ui.rows', { n: good.length })
    const undo = a.undo
    const offer = undo ? { label: t('ui.undo'), run: async () => void (await Promise.all(good.map((o) => inBin(d.plural, o.id))), each(d.plural, good.map((o) => o.id), undo.action).then((back) => (back.some((o) => o.error) ? say(t('ui.undo_failed'), { tone: 'bad', error: back.find((o) => o.error)!.error }) : say(t('ui.undone', { name }))))) } : undefined
    say(t('ui.did', { action: t(`act.${a.key}`), name }), { offer })
  }

  /** A deletion that is under way is taken back when it has come to the bin: until then the host puts the guest away. */
  async function inBin(plural: string, id: string) {
    for (let waits = 0; waits < 60; waits++) {
      const row = await show(plural, id).catch(() => null)
      if (!row || row.pending_deleted || !('pending_deleted' in row)) return
      await new Promise((on) => setTimeout(on, 1000))
    }
  }

  function start(d: Description, a: Action, rows: Row[], hooks: { done?: (o: Outcome[]) => void; expect?: (id: string, values: Partial<Row>) => void } = {}) {
    if (a.wire?.startsWith('/')) return void router.push(a.wire + rows[0].id)
    asked.job = { of: d, action: a, rows, ...hooks }
  }
  return { words, allowed, offered, why, run, told, start }
}
