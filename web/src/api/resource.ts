// The gateway's dialect for resources: list envelopes, bare objects, batches answered by 207.
import { ApiError, call, del, errorOf, get, post, put, type Query } from './http'
import { forget, hold, placeOf, remember } from './unfinished'

export type Row = Record<string, any> & { id: string }
export interface Page<R = Row> {
  data: R[]
  total: number
}
/** What became of one row of a batch. */
export interface Outcome {
  id: string
  data?: Row
  error?: ApiError
}

export const list = <R = Row>(plural: string, query: Query, signal?: AbortSignal): Promise<Page<R>> =>
  get(`/v1/${plural}`, { details: true, ...query }, signal).then((p) => ({ data: p.data ?? [], total: p.total ?? p.data?.length ?? 0 }))

export const show = <R = Row>(plural: string, id: string, query?: Query): Promise<R> => get(`/v1/${plural}/${encodeURIComponent(id)}`, { details: true, ...query })
export const property = <T = any>(plural: string, id: string, name: string): Promise<T> => get(`/v1/${plural}/${encodeURIComponent(id)}/${name}`)
export const create = (plural: string, body: unknown): Promise<Row> => post(`/v1/${plural}`, body)
export const update = (plural: string, id: string, body: unknown): Promise<Row> => put(`/v1/${plural}/${encodeURIComponent(id)}`, body)
export const act = (plural: string, id: string, action: string, body: unknown = {}): Promise<Row> =>
  post(`/v1/${plural}/${encodeURIComponent(id)}/${action}`, body)

/** One row at a time or many at once: the same answer, one outcome per row, in the order asked. */
export async function each(plural: string, ids: string[], what: 'delete' | 'update' | string, body: unknown = {}, query: Query = {}): Promise<Outcome[]> {
  const answers: { id: string; status: number; data: any }[] = []
  const asked = { ...query, id: ids }
  try {
    const reply: any =
      what === 'delete' ? await del(`/v1/${plural}`, asked) : what === 'update' ? await put(`/v1/${plural}`, body, asked) : await post(`/v1/${plural}/${what}`, body, asked)
    answers.push(...(reply?.data ?? []))
  } catch (error) {
    return ids.map((id) => ({ id, error: error as ApiError }))
  }
  return ids.map((id) => {
    const mine = answers.find((a) => a.id === id)
    if (!mine) return { id, error: new ApiError(0, 'Unanswered', '', '') }
    return mine.status < 300 ? { id, data: mine.data } : { id, error: errorOf(mine.status, JSON.stringify(mine.data)) }
  })
}

/** Bytes of a file sent in one request: what a broken line costs. */
const PIECE = 8 << 20
const BREAKS = 12
const LONGEST_PAUSE = 4000

/**
 * Sends an image's bytes in pieces, from where a transfer `from` before was left, if there was one. A line that breaks is waited for and gone on from;
 * `told` says so. The promise fails with [`ApiError`]; `abort` ends the transfer, `pause` leaves it to be gone on with by the next page.
 */
export function upload(fields: Record<string, unknown>, file: File, from: { id: string; offset: number } | null, progress: (share: number) => void, told: (broken: boolean) => void) {
  let request: XMLHttpRequest | undefined
  let stopped: false | 'given up' | 'left' = false
  let path = ''
  const send = (at: number) =>
    new Promise<Row & { offset?: number }>((resolve, reject) => {
      const r = (request = new XMLHttpRequest())
      r.upload.onprogress = (e) => progress((at + e.loaded) / file.size)
      r.onload = () => (r.status < 300 ? resolve(JSON.parse(r.responseText || '{}')) : reject(errorOf(r.status, r.responseText)))
      r.onerror = () => reject(new ApiError(0, 'Unreachable', '', ''))
      r.onabort = () => reject(new ApiError(0, 'Aborted', '', ''))
      r.open('PUT', `/api${path}?offset=${at}`)
      r.setRequestHeader('content-type', 'application/octet-stream')
      r.send(file.slice(at, at + PIECE))
    })
  const halt = () => {
    if (stopped) throw new ApiError(0, 'Aborted', '', '')
  }
  async function all(): Promise<Row> {
    const begun = from ?? (await post<{ id: string; offset: number }>('/v1/imageutils/uploads', { ...fields, size: file.size }))
    path = placeOf(begun.id)
    // Given up before anybody knew where it is.
    if (stopped === 'given up') void del(path).catch(() => undefined)
    halt()
    remember(begun.id, file)
    hold(begun.id, done)
    for (let at = begun.offset, breaks = 0; ; ) {
      try {
        const answer = await send(at)
        if (answer.id) return forget(begun.id), answer
        at = answer.offset ?? at
        breaks = 0
      } catch (e) {
        const { status } = e as ApiError
        const lost = [0, 409, 502, 503, 504].includes(status)
        // Who is asked to log in again, or to wait, can go on afterwards.
        if (!lost && ![401, 429].includes(status)) forget(begun.id)
        if (stopped || !lost || ++breaks > BREAKS) throw e
        told(true)
        await new Promise((on) => setTimeout(on, Math.min(250 * 2 ** breaks, LONGEST_PAUSE)))
        halt()
        // Where it goes on is for the platform to say: what was on the way may have come.
        at = await get<{ offset: number }>(path).then((now) => (told(false), now.offset), (error: ApiError) => (error.status ? Promise.reject(error) : at))
        halt()
      }
    }
  }
  // Begun in a moment, when there is something to hold on to.
  const done: Promise<Row> = Promise.resolve().then(all)
  return {
    done,
    abort: () => {
      stopped = 'given up'
      forget(path.split('/').pop() ?? '')
      request?.abort()
      if (path) void del(path).catch(() => undefined)
    },
    pause: () => {
      stopped = 'left'
      request?.abort()
    },
  }
}
export { call }
