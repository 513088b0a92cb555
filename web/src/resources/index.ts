// All descriptions, by plural.
import { needs } from '@/api/session'
import * as access from './access'
import * as compute from './compute'
import * as infrastructure from './infrastructure'
import * as operations from './operations'
import type { Description } from './types'

// In the order of the menu.
const all: Description[] = [
  compute.servers, compute.images, compute.serverskus, compute.keypairs,
  infrastructure.networks, infrastructure.wires, infrastructure.vpcs, compute.disks, infrastructure.storages, infrastructure.hosts, infrastructure.zones,
  operations.tasks, operations.quotas, operations.events,
  access.projects, access.users, access.groups, access.roles, access.policies, access.domains,
]
export const resources: Record<string, Description> = Object.fromEntries(all.map((d) => [d.plural, d]))
export const GROUPS = ['compute', 'network', 'storage', 'infrastructure', 'operations', 'access'] as const

for (const d of Object.values(resources)) {
  needs(d.service, `${d.plural}/list`, d.scope)
  if (d.create) needs(d.service, `${d.plural}/create`, d.scope)
  for (const action of d.actions) {
    // A right may be of another resource, as when an image offers to make a server of it.
    const owner = resources[action.right.split('/')[0]] ?? d
    needs(owner.service, action.right, owner.scope)
  }
}
needs('compute', 'servers/perform/detachdisk', 'project')
needs('compute', 'servers/perform/detachnetwork', 'project')
needs('identity', 'role_assignments/list', 'domain')
needs('identity', 'services/update', 'system')
