// Short messages at the corner. Those that offer to take something back stay longer.
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

export function dismiss(id: number) {
  const at = toasts.findIndex((t) => t.id === id)
  if (at >= 0) toasts.splice(at, 1)
}
export function say(text: string, more: Partial<Toast> = {}) {
  const id = next++
  toasts.push({ id, tone: 'ok', text, ...more })
  if (!more.error) setTimeout(() => dismiss(id), more.offer ? 12_000 : 4000)
  while (toasts.length > 4) toasts.shift()
}
