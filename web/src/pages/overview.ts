// What the overview asks for, so that it can be asked before the page is put together.
import { ahead } from '@/api/ahead'
import { queryString, type Query } from '@/api/http'
import { may, session } from '@/api/session'

const TROUBLE = 'status.in(sched_fail,disk_fail,net_fail,create_fail,deploy_fail,start_fail,stop_fail,delete_fail,unknown)'
/** Lines of the latest tasks and changes. */
export const LINES = 8

/** A path for each part; null for what somebody may not see. */
export function questions() {
  const wide = session.scope !== 'project'
  const of = (plural: string, query: Query) => (may(`${plural}/list`) ? `/v1/${plural}${queryString({ details: true, scope: session.scope, ...query })}` : null)
  return {
    tasks: of('tasks', { limit: LINES, order_by: 'created_at', order: 'desc' }),
    events: of('events', { limit: LINES, order_by: 'id', order: 'desc' }),
    usage: `/v1/rpc/usages/general-usage${queryString({ scope: session.scope })}`,
    offline: wide ? of('hosts', { limit: 6, host_status: 'offline' }) : null,
    troubled: of('servers', { limit: 6, filter: TROUBLE }),
    stuck: of('tasks', { limit: 6, status: 'stuck' }),
    quota: wide ? null : of('quotas', { limit: 1 }),
  }
}
/** What takes most of the page is asked at once, the rest when that has been painted: a request costs a slow processor more than its answer. */
export function askAhead(lang: string) {
  const { tasks, events } = questions()
  for (const path of [tasks, events]) if (path) ahead(path, lang)
}
