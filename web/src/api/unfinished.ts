// A transfer that no page saw to its end: of which file, and under which id the gateway waits for the rest of it. One for each browser, the latest.
import { del, get } from './http'
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
export const forget = () => localStorage.removeItem(KEY)

function recall(): Unfinished | null {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? 'null') as Unfinished | null
    return kept && kept.user === session.user?.id ? kept : null
  } catch {
    return null
  }
}

/** What was left, and how many bytes of it have come; null when there is nothing, or the gateway waits for it no more. */
export async function left(): Promise<(Unfinished & { offset: number }) | null> {
  const kept = recall()
  if (!kept) return null
  try {
    return { ...kept, offset: (await get<{ offset: number }>(placeOf(kept.id))).offset }
  } catch {
    forget()
    return null
  }
}
export const same = (kept: Unfinished | null, file: File | null) => !!kept && !!file && kept.file === file.name && kept.size === file.size && kept.modified === file.lastModified

export async function giveUp(kept: Unfinished) {
  forget()
  await del(placeOf(kept.id)).catch(() => undefined)
}
