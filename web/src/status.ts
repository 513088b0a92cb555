// What a status word means to a person: its tone. The words themselves are translated under `status.`.

export type Tone = 'ok' | 'busy' | 'warn' | 'bad' | 'off' | 'idle'

const OK = new Set('running active available online ready enabled done complete ok deployed valid'.split(' '))
const OFF = new Set('stopped disabled offline_planned archived'.split(' '))
const WARN = new Set('unknown stuck warning offline soldout not_yet expiring'.split(' '))
const WAIT = new Set(
  'init schedule network disk deploying start_start starting start_stop stopping attach_disk detach_disk resize_disk sync_config rebuild_root start_delete deleting queue running_task waiting undoing saving saved probing converting queued allocating creating resizing'.split(' '),
)

/** A server that is `ready` is stopped; everywhere else `ready` is good. */
export function tone(word: string, plural = ''): Tone {
  if (plural === 'servers' && word === 'ready') return 'off'
  if ((plural === 'tasks' || plural === 'archivedtasks') && word === 'running') return 'busy'
  if (OK.has(word)) return 'ok'
  if (OFF.has(word)) return 'off'
  if (WAIT.has(word)) return 'busy'
  if (WARN.has(word)) return 'warn'
  return /fail|error|killed|invalid|expired/.test(word) ? 'bad' : 'idle'
}
/** Whether something is under way, so that most actions must wait. */
export const moving = (word: string) => WAIT.has(word)
