// A transfer that no page saw to its end: of which file, and under which id the gateway waits for the rest of it. One for each browser, the latest.
import { type ApiError, del, get } from './http'
import { session } from './session'

const KEY = 'wolke.upload'
export interface Unfinished {
  id: string
  user: string
  /** The file as the browser knows it: name, bytes, time of its last change. */
  file: string
  size: number
  modified: number
}

export const placeOf = (id: string) => `/v1/imageutils/uploads/${encodeURIComponent(id)}`
export const remember = (id: string, file: File) =>
  localStorage.setItem(KEY, JSON.stringify({ id, user: session.user?.id ?? '', file: file.name, size: file.size, modified: file.lastModified } satisfies Unfinished))
/** Forgets that transfer; one that another page has begun since is not it. */
export const forget = (id: string) => recall()?.id === id && localStorage.removeItem(KEY)

// Says to the browser's other pages that somebody sends. Where the browser keeps that from pages without TLS, each page knows of itself alone.
const lock = (id: string) => `wolke.upload.${id}`
export const hold = (id: string, until: Promise<unknown>) => void navigator.locks?.request(lock(id), () => until.catch(() => undefined))
const sent = async (id: string) => !!(await navigator.locks?.query())?.held?.some((held) => held.name === lock(id))

function recall(): Unfinished | null {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? 'null') as Unfinished | null
    return kept && kept.user === session.user?.id ? kept : null
  } catch {
    return null
  }
}

/** What was left, and how many bytes of it have come; null when there is nothing, somebody sends it, or nobody can say just now. */
export async function left(): Promise<(Unfinished & { offset: number }) | null> {
  const kept = recall()
  if (!kept || (await sent(kept.id))) return null
  try {
    return { ...kept, offset: (await get<{ offset: number }>(placeOf(kept.id))).offset }
  } catch (error) {
    // The gateway waits for it no more. Whatever else went wrong passes.
    if ((error as ApiError).status === 404) forget(kept.id)
    return null
  }
}
export const same = (kept: Unfinished | null, file: File | null) => !!kept && !!file && kept.file === file.name && kept.size === file.size && kept.modified === file.lastModified

export async function giveUp(kept: Unfinished) {
  forget(kept.id)
  await del(placeOf(kept.id)).catch(() => undefined)
}
