// Rules shared by descriptions: why something cannot be done now, and what a deletion touches.
import { list, type Row } from '@/api/resource'
import { moving } from '@/status'
import type { Action, Column, Words } from './types'
import { Ban, Globe, Lock, Pencil, Power, RotateCcw, Trash2 } from '@lucide/vue'

export const busy = (row: Row): Words | null => (moving(row.status) ? ['why.busy', { status: row.status }] : null)
export const binned = (row: Row): Words | null => (row.pending_deleted ? ['why.binned'] : null)
export const frozen = (row: Row): Words | null => (row.freezed ? ['why.frozen'] : null)
export const must = (row: Row, ...words: string[]): Words | null =>
  binned(row) ?? frozen(row) ?? busy(row) ?? (words.includes(row.status) ? null : ['why.state', { status: row.status, wanted: words }])
export const guarded = (row: Row): Words | null => binned(row) ?? frozen(row) ?? (row.disable_delete || row.protected ? ['why.protected'] : null)

/** Counts rows of another resource that hang on this one; says nothing when there are none or they may not be seen. */
export async function counts(what: [plural: string, query: Record<string, string>, key: string][]): Promise<Words[]> {
  const found = await Promise.all(
    what.map(async ([plural, query, key]): Promise<Words | null> => {
      const page = await list(plural, { ...query, limit: 4 }).catch(() => null)
      if (!page?.total) return null
      const names = page.data.map((r) => r.name || r.ip_addr || r.id)
      return [key, { n: page.total, names: names.join(', ') + (page.total > names.length ? ', …' : '') }]
    }),
  )
  return found.filter((w): w is Words => !!w)
}

export const edit = (plural: string, extra: Action['form'] = []): Action => ({
  key: 'update',
  method: 'update',
  icon: Pencil,
  right: `${plural}/update`,
  form: [
    { key: 'name', kind: 'text', required: true, initial: (row: Row) => row.name },
    { key: 'description', kind: 'text', initial: (row: Row) => row.description ?? '' },
    ...extra,
  ],
  why: (row) => binned(row) ?? (row.is_system ? ['why.system'] : null),
})

export const remove = (plural: string, more: Partial<Action> = {}): Action => ({
  key: 'delete',
  method: 'delete',
  icon: Trash2,
  danger: true,
  confirm: true,
  bulk: true,
  right: `${plural}/delete`,
  why: (row) => (row.is_system ? ['why.system'] : (binned(row) ?? (row.can_delete === false && row.delete_fail_reason ? ['why.told', { text: row.delete_fail_reason.details ?? row.delete_fail_reason }] : null))),
  ...more,
})

/** Out of the recycle bin, or for ever. */
export const bin = (plural: string): Action[] => [
  { key: 'cancel-delete', icon: RotateCcw, bulk: true, right: `${plural}/perform/cancel-delete`, why: (row) => (row.pending_deleted ? null : ['why.notbinned']) },
  { key: 'destroy', method: 'delete', query: { override_pending_delete: true }, icon: Trash2, danger: true, confirm: true, bulk: true, right: `${plural}/delete`, why: (row) => (row.pending_deleted ? null : ['why.notbinned']) },
]

export const onOff = (plural: string): Action[] => [
  { key: 'enable', icon: Power, bulk: true, right: `${plural}/perform/enable`, why: (row) => (row.enabled ? ['why.already', { word: 'enabled' }] : null) },
  { key: 'disable', icon: Ban, bulk: true, confirm: true, right: `${plural}/perform/disable`, why: (row) => (row.enabled ? null : ['why.already', { word: 'disabled' }]) },
]

export const sharing = (plural: string): Action[] => [
  { key: 'public', icon: Globe, right: `${plural}/perform/public`, form: [{ key: 'scope', kind: 'select', options: ['system', 'domain', 'project'], initial: 'system' }], why: (row) => (row.is_public ? ['why.already', { word: 'shared' }] : null) },
  { key: 'private', icon: Lock, confirm: true, right: `${plural}/perform/private`, why: (row) => (row.is_public ? null : ['why.already', { word: 'private' }]) },
]

export const name: Column = { key: 'name', sort: true }
export const status: Column = { key: 'status', as: 'status', width: 130, sort: true }
export const enabled: Column = { key: 'enabled', as: 'bool', width: 90 }
export const created: Column = { key: 'created_at', as: 'time', width: 150, sort: true }
export const project: Column = { key: 'project', width: 120, link: ['projects', 'tenant_id'], more: true }
export const domain: Column = { key: 'project_domain', label: 'domain', width: 110, more: true }
export const zone: Column = { key: 'zone', width: 100, more: true }
export const about: Column = { key: 'description', width: 260 }
