// Short messages at the corner. Those that offer to take something back stay longer, and none goes while somebody is at it.
import { reactive } from 'vue'

export interface Toast {
  id: number
  tone: 'ok' | 'bad'
  text: string
  error?: unknown
  offer?: { label: string; run: () => void }
}
export const toasts = reactive<Toast[]>([])
let next = 1

/** Until they go. */
const clocks = new Map<number, ReturnType<typeof setTimeout>>()

export function hold(id: number) {
  clearTimeout(clocks.get(id))
  clocks.delete(id)
}
/** From now on it has its whole time. */
export function release(id: number) {
  hold(id)
  const toast = toasts.find((t) => t.id === id)
  if (toast && !toast.error) clocks.set(id, setTimeout(() => dismiss(id), toast.offer ? 12_000 : 4000))
}

export function dismiss(id: number) {
  hold(id)
  const at = toasts.findIndex((t) => t.id === id)
  if (at >= 0) toasts.splice(at, 1)
}
export function say(text: string, more: Partial<Toast> = {}) {
  const id = next++
  toasts.push({ id, tone: 'ok', text, ...more })
  release(id)
  while (toasts.length > 4) dismiss(toasts[0].id)
}
