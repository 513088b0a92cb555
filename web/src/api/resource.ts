// The gateway's dialect for resources: list envelopes, bare objects, batches answered by 207.
import { ApiError, call, del, errorOf, get, post, put, type Query } from './http'

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

/** Sends an image's bytes with progress. The promise fails with [`ApiError`]; `abort` ends the transfer. */
export function upload(fields: Record<string, string>, file: File, progress: (share: number) => void) {
  const request = new XMLHttpRequest()
  const done = new Promise<Row>((resolve, reject) => {
    const form = new FormData()
    for (const [key, value] of Object.entries(fields)) if (value) form.append(key, value)
    form.append('image_size', String(file.size))
    form.append('image', file, file.name)
    request.upload.onprogress = (e) => e.lengthComputable && progress(e.loaded / e.total)
    request.onload = () => (request.status < 300 ? resolve(JSON.parse(request.responseText || '{}')) : reject(errorOf(request.status, request.responseText)))
    request.onerror = () => reject(new ApiError(0, 'Unreachable', '', ''))
    request.onabort = () => reject(new ApiError(0, 'Aborted', '', ''))
    request.open('POST', '/api/v1/imageutils/upload')
    request.send(form)
  })
  return { done, abort: () => request.abort() }
}
export { call }
