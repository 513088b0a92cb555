// One event stream per page. Parts of the page say which resources they show; a change tells them to ask for their rows again.
// Without a stream (a proxy in between, an old gateway) the same parts are told every few seconds.
import { onScopeDispose, ref } from 'vue'

export interface Change {
  resource: string
  /** Empty: anything may have changed. */
  id: string
  kind: 'create' | 'update' | 'delete' | 'any'
}
type Listener = (change: Change) => void

const POLL = 8_000
const RETRY = 30_000
const listeners = new Map<string, Set<Listener>>()
export const link = ref<'live' | 'polling' | 'offline'>('polling')

let source: EventSource | undefined
let streamed = ''
/** The position in every feed that has been heard; a stream of other resources goes on from there. */
let position = ''
let failures = 0
let planned: ReturnType<typeof setTimeout> | undefined
let pollTimer: ReturnType<typeof setInterval> | undefined

function tell(change: Change) {
  for (const call of listeners.get(change.resource) ?? []) call(change)
}
const tellAll = () => [...listeners.keys()].forEach((resource) => tell({ resource, id: '', kind: 'any' }))

function poll(on: boolean) {
  clearInterval(pollTimer)
  pollTimer = on ? setInterval(() => !document.hidden && tellAll(), POLL) : undefined
}

function connect() {
  const wanted = [...listeners.keys()].sort().join(',')
  if (wanted === streamed && source && source.readyState !== EventSource.CLOSED) return
  source?.close()
  streamed = wanted
  if (!wanted) return
  const since = position ? `&last_event_id=${encodeURIComponent(position)}` : ''
  const mine = new EventSource(`/api/v1/live?resources=${encodeURIComponent(wanted)}${since}`)
  source = mine
  // Rows were asked for before the first stream began: what happened in between is asked for once.
  let behind = !position
  source.onopen = () => {
    if (failures || behind) tellAll()
    behind = false
    failures = 0
    link.value = 'live'
    poll(false)
  }
  const heard = (e: MessageEvent) => {
    if (source !== mine) return
    position = e.lastEventId || position
    try {
      tell(JSON.parse(e.data))
    } catch {
      tellAll()
    }
  }
  source.onmessage = heard
  source.addEventListener('change', heard)
  source.addEventListener('position', (e) => (position = (e as MessageEvent).lastEventId || position))
  source.addEventListener('reset', (e) => ((position = (e as MessageEvent).lastEventId || position), tellAll()))
  source.onerror = () => {
    failures++
    link.value = navigator.onLine ? 'polling' : 'offline'
    if (!pollTimer) poll(true)
    // The browser itself comes back unless it was refused; then it is tried again later.
    if (source?.readyState === EventSource.CLOSED) plan(Math.min(RETRY, 1000 * 2 ** failures))
  }
}

function plan(after: number) {
  clearTimeout(planned)
  planned = setTimeout(connect, after)
}

/** Calls back on changes of these resources until the component goes away. */
export function onChange(resources: string[], call: Listener) {
  for (const resource of resources) {
    if (!listeners.has(resource)) listeners.set(resource, new Set())
    listeners.get(resource)!.add(call)
  }
  plan(60)
  onScopeDispose(() => {
    for (const resource of resources) {
      const set = listeners.get(resource)
      set?.delete(call)
      if (!set?.size) listeners.delete(resource)
    }
    plan(400)
  })
}

/** Ends the stream, as after logging out. */
export function silence() {
  clearTimeout(planned)
  source?.close()
  source = undefined
  streamed = ''
  position = ''
  poll(false)
}

/**
 * Asks as often as one likes and hands on what is newest: an answer that a later one has overtaken is dropped, whenever it comes.
 * `forget` drops all that is under way.
 */
export function latest<T>(ask: () => Promise<T>, take: (answer: T) => void, fail: (error: unknown) => void = () => undefined) {
  let [asked, taken] = [0, 0]
  function load() {
    const mine = ++asked
    const unlessLate = <A>(use: (a: A) => void) => (a: A) => void (mine > taken && ((taken = mine), use(a)))
    return ask().then(unlessLate(take), unlessLate(fail))
  }
  return { load, forget: () => void (taken = asked) }
}

/** Runs `work` soon and at most once per `ms`; calls in between become one. */
export function gather(work: () => void, ms = 200) {
  let timer: ReturnType<typeof setTimeout> | undefined
  onScopeDispose(() => clearTimeout(timer))
  return () => (timer ??= setTimeout(() => ((timer = undefined), work()), ms))
}
