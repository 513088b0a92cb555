// A list as long as it likes: rows are asked for in blocks, where one looks, and forgotten far away from there.
import { onScopeDispose, reactive, ref, shallowRef, triggerRef, watch, type Ref } from 'vue'
import type { Query } from './http'
import { gather, onChange } from './live'
import { list, type Row } from './resource'

const BLOCK = 50
const KEEP = 12

export function usePages(plural: string, query: Ref<Query>, hears: string[] = [plural]) {
  const blocks = shallowRef(new Map<number, Row[]>())
  const fresh = reactive(new Set<string>())
  const total = ref(0)
  /** Goes up when rows have changed in place. */
  const version = ref(0)
  const error = ref<unknown>(null)
  const first = ref(true)
  const waiting = ref(false)
  let round = 0
  let seen: [number, number] = [0, BLOCK]
  const asked = new Map<number, AbortController>()

  async function fetchBlock(n: number, quiet = false) {
    asked.get(n)?.abort()
    const stop = new AbortController()
    asked.set(n, stop)
    const mine = round
    waiting.value = !quiet
    try {
      const page = await list(plural, { ...query.value, limit: BLOCK, offset: n * BLOCK }, stop.signal)
      if (mine !== round) return
      if (quiet) mark(blocks.value.get(n) ?? [], page.data)
      blocks.value.set(n, page.data)
      total.value = Math.max(page.total, page.data.length)
      error.value = null
      triggerRef(blocks)
    } catch (e) {
      if ((e as Error).name !== 'AbortError' && mine === round) error.value = e
    } finally {
      if (asked.get(n) === stop) asked.delete(n)
      if (mine === round) (first.value = false), (waiting.value = asked.size > 0)
    }
  }

  /** Rows that came or changed light up for a moment. */
  function mark(old: Row[], now: Row[]) {
    const versions = new Map(old.map((r) => [r.id, `${r.update_version}${r.status}${r.progress}`]))
    for (const r of now)
      if (versions.get(r.id) !== `${r.update_version}${r.status}${r.progress}`) {
        fresh.add(r.id)
        setTimeout(() => fresh.delete(r.id), 1700)
      }
  }

  /** Says which rows can be seen. */
  function look(from: number, to: number) {
    seen = [from, to]
    const [low, high] = [Math.floor(from / BLOCK), Math.floor(Math.max(to - 1, 0) / BLOCK)]
    for (let n = low; n <= high; n++) if (!blocks.value.has(n) && !asked.has(n) && (n === 0 || n * BLOCK < total.value)) void fetchBlock(n)
    // What was passed by is not waited for.
    for (const [n, stop] of asked) if (n < low - 1 || n > high + 1) stop.abort(), asked.delete(n)
    if (blocks.value.size > KEEP) for (const n of blocks.value.keys()) if (n < low - 4 || n > high + 4) blocks.value.delete(n)
  }

  /** Asks again for what is on the screen; the rest is asked for when it is looked at. */
  function refresh() {
    const [low, high] = [Math.floor(seen[0] / BLOCK), Math.floor(Math.max(seen[1] - 1, 0) / BLOCK)]
    for (const n of blocks.value.keys()) if (n < low || n > high) blocks.value.delete(n)
    for (let n = low; n <= high; n++) void fetchBlock(n, true)
  }

  function restart() {
    round++
    for (const stop of asked.values()) stop.abort()
    asked.clear()
    seen = [0, BLOCK]
    const old = blocks.value
    blocks.value = new Map(old.has(0) ? [[0, old.get(0)!]] : [])
    void fetchBlock(0)
  }
  watch(query, (now, old) => JSON.stringify(now) !== JSON.stringify(old) && restart())
  restart()
  onChange(hears, gather(refresh, 250))
  onScopeDispose(() => asked.forEach((stop) => stop.abort()))

  const at = (i: number): Row | undefined => blocks.value.get(Math.floor(i / BLOCK))?.[i % BLOCK]
  const find = (id: string): Row | undefined => [...blocks.value.values()].flat().find((r) => r.id === id)
  /** Changes a row on the screen before the answer has come. */
  function expect(id: string, values: Partial<Row>) {
    for (const rows of blocks.value.values()) for (const r of rows) if (r.id === id) Object.assign(r, values)
    version.value++
    triggerRef(blocks)
  }
  return { version, at, find, total, error, first, waiting, fresh, look, refresh, restart, expect, blocks }
}
export type Pages = ReturnType<typeof usePages>
