// Rules of descriptions: what can be done when, and what the page says otherwise.
import { describe, expect, it } from 'vitest'
import { resources } from '@/resources'
import { tone } from '@/status'

const action = (plural: string, key: string) => resources[plural].actions.find((a) => a.key === key)!
const server = (over = {}) => ({ id: 's', name: 'web', status: 'running', ...over })

describe('descriptions', () => {
  it('names rights that are a resource, a verb and its word', () => {
    for (const d of Object.values(resources)) for (const a of d.actions) expect(a.right, `${d.plural} ${a.key}`).toMatch(/^[a-z]+\/(create|update|delete|perform\/[a-z-]+)$/)
  })
  it('has each action and column once', () => {
    for (const d of Object.values(resources)) {
      expect(new Set(d.actions.map((a) => a.key)).size, d.plural).toBe(d.actions.length)
      expect(new Set(d.columns.map((c) => c.key)).size, d.plural).toBe(d.columns.length)
    }
  })
  it('links to resources there are', () => {
    for (const d of Object.values(resources)) for (const c of d.columns) if (c.link) expect(resources).toHaveProperty(c.link[0])
  })
  it('starts what is stopped and says why not otherwise', () => {
    const start = action('servers', 'start')
    expect(start.why!(server({ status: 'ready' }))).toBeNull()
    expect(start.why!(server())![0]).toBe('why.state')
    expect(start.why!(server({ status: 'starting' }))![0]).toBe('why.busy')
    expect(start.why!(server({ status: 'ready', pending_deleted: true }))![0]).toBe('why.binned')
    expect(start.why!(server({ status: 'ready', freezed: true }))![0]).toBe('why.frozen')
  })
  it('deletes neither what runs nor what is protected', () => {
    const remove = action('servers', 'delete')
    expect(remove.why!(server())![0]).toBe('why.running')
    expect(remove.why!(server({ status: 'ready', disable_delete: true }))![0]).toBe('why.protected')
    expect(remove.why!(server({ status: 'ready' }))).toBeNull()
    expect(remove.undo).toEqual({ action: 'cancel-delete' })
  })
  it('says what a deletion touches', async () => {
    const touched = await action('servers', 'delete').blast!(server({ disks_info: [{ name: 'root', size: 1024 }], nics: [{ ip_addr: '10.0.0.2', network: 'default' }] }))
    expect(touched.map((w) => w[0])).toEqual(['blast.disk', 'blast.address', 'blast.bin'])
  })
  it('shapes what goes on the wire', () => {
    expect(action('servers', 'change-config').body!({ vcpu_count: 2, vmem_size: 2048 }, server())).toEqual({ vcpu_count: 2, vmem_size: '2048M' })
    expect(action('networks', 'reserve-ip').body!({ ips: '10.0.0.1, 10.0.0.2\n10.0.0.3' }, server())).toEqual({ ips: ['10.0.0.1', '10.0.0.2', '10.0.0.3'], notes: undefined })
  })
  it('cancels a task only before its point of no return', () => {
    const cancel = action('tasks', 'cancel')
    expect(cancel.why!({ id: 't', status: 'running' })).toBeNull()
    expect(cancel.why!({ id: 't', status: 'running', committed: true })![0]).toBe('why.committed')
    expect(action('tasks', 'retry').why!({ id: 't', status: 'stuck' })).toBeNull()
  })
  it('tells good from bad at a glance', () => {
    expect(tone('running', 'servers')).toBe('ok')
    expect(tone('ready', 'servers')).toBe('off')
    expect(tone('ready', 'disks')).toBe('ok')
    expect(tone('sched_fail', 'servers')).toBe('bad')
    expect(tone('running', 'tasks')).toBe('busy')
  })
})
