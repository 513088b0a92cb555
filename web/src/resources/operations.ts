// What is limited, under way, and what happened.
import { Gauge, History, ListChecks, CircleStop, RotateCw, SkipForward, Trash2 } from '@lucide/vue'
import type { Row } from '@/api/resource'
import type { Description, Words } from './types'

const stuck = (r: Row): Words | null => (r.status === 'stuck' ? null : ['why.notstuck'])

export const quotas: Description = {
  plural: 'quotas', singular: 'quota', service: 'compute', scope: 'project', group: 'operations', icon: Gauge, flat: true,
  columns: [
    { key: 'project', label: 'project', link: ['projects', 'tenant_id'], value: (r) => r.project ?? r.tenant_id },
    { key: 'count', label: 'q_servers', width: 190, as: 'percent', value: (r) => [r['usage.count'] ?? 0, r.count] },
    { key: 'cpu', label: 'q_cpu', width: 190, as: 'percent', value: (r) => [r['usage.cpu'] ?? 0, r.cpu] },
    { key: 'memory', label: 'q_memory', width: 220, as: 'percent', value: (r) => [r['usage.memory'] ?? 0, r.memory, 'mib'] },
    { key: 'storage', label: 'q_storage', width: 220, as: 'percent', value: (r) => [r['usage.storage'] ?? 0, r.storage, 'mib'] },
  ],
  hears: ['quotas', 'servers'],
  create: { form: [
    { key: 'tenant_id', label: 'project', kind: 'ref', of: 'projects', required: true, wire: 'project_id' },
    { key: 'count', label: 'q_servers', kind: 'number', initial: -1, min: -1, help: 'unlimited' }, { key: 'cpu', label: 'q_cpu', kind: 'number', initial: -1, min: -1 },
    { key: 'memory', label: 'q_memory', kind: 'number', initial: -1, min: -1, help: 'mib' }, { key: 'storage', label: 'q_storage', kind: 'number', initial: -1, min: -1, help: 'mib' },
  ] },
  actions: [
    { key: 'update', method: 'update', icon: Gauge, right: 'quotas/update', form: ['count', 'cpu', 'memory', 'storage'].map((key) => ({ key, label: key === 'count' ? 'q_servers' : `q_${key}`, kind: 'number' as const, min: -1, initial: (r: Row) => r[key], help: key === 'count' ? 'unlimited' : undefined })) },
    { key: 'delete', method: 'delete', icon: Trash2, danger: true, confirm: true, right: 'quotas/delete' },
  ],
}

export const tasks: Description = {
  plural: 'tasks', singular: 'task', service: 'compute', scope: 'project', group: 'operations', icon: ListChecks, order: ['created_at', 'desc'],
  columns: [
    { key: 'name', label: 'task', value: (r) => r.task_name }, { key: 'object', width: 180 }, { key: 'status', as: 'status', width: 120, value: (r) => (r.status === 'done' ? r.stage : r.status) },
    { key: 'stage', width: 170, value: (r) => (r.status === 'done' ? '' : r.stage) }, { key: 'progress', as: 'percent', width: 130, value: (r) => [r.progress ?? 0, 100] }, { key: 'created_at', as: 'time', width: 155, sort: true }, { key: 'end_at', as: 'time', width: 155, more: true }, { key: 'request_id', as: 'mono', width: 190, more: true },
  ],
  filters: [{ key: 'status', options: ['queue', 'running', 'waiting', 'undoing', 'stuck', 'done'], words: 'status' }, { key: 'stage', options: ['failed', 'complete'], words: 'status' }],
  hears: ['tasks'],
  actions: [
    { key: 'cancel', icon: CircleStop, danger: true, confirm: true, right: 'tasks/perform/cancel', why: (r) => (r.status === 'done' ? ['why.ended'] : r.committed ? ['why.committed'] : r.cancel_requested ? ['why.cancelled'] : null) },
    { key: 'retry', icon: RotateCw, right: 'tasks/perform/retry', why: stuck }, { key: 'skip', icon: SkipForward, confirm: true, right: 'tasks/perform/skip', why: stuck },
    { key: 'abandon', icon: Trash2, danger: true, confirm: true, right: 'tasks/perform/abandon', why: stuck },
  ],
  tabs: [{ key: 'plan', part: () => import('@/parts/TaskPlan.vue') }],
}

export const events: Description = {
  plural: 'events', singular: 'event', service: 'compute', scope: 'project', group: 'operations', icon: History, inner: true, flat: true, order: ['id', 'desc'],
  columns: [{ key: 'ops_time', as: 'time', width: 150 }, { key: 'action', width: 120 }, { key: 'obj_type', width: 100 }, { key: 'obj_name' }, { key: 'user', width: 130 }, { key: 'ip', as: 'mono', width: 130 }],
  hears: ['events'], actions: [],
}
