// Servers and what they are made of.
import { Cpu, Eraser, HardDrive, HeartPulse, Image, KeyRound, Maximize2, Network, Play, Plus, Power, RefreshCw, RotateCw, Ruler, Server, Square, Unplug, Zap } from '@lucide/vue'
import type { Row } from '@/api/resource'
import { bin, binned, busy, counts, created, edit, enabled, guarded, must, name, project, remove, sharing, status, zone } from './rules'
import type { Description } from './types'

const image = (row: Row) => row.disks_info?.[0]?.image ?? ''

export const servers: Description = {
  plural: 'servers', singular: 'server', service: 'compute', scope: 'project', group: 'compute', icon: Server, bin: true,
  columns: [
    name, status,
    { key: 'ips', width: 160, as: 'mono' },
    { key: 'vcpu_count', width: 70, sort: true },
    { key: 'vmem_size', width: 90, as: 'mib', sort: true },
    { key: 'disk', width: 90, as: 'mib' },
    { key: 'image', width: 130, value: image },
    { key: 'host', width: 120, link: ['hosts', 'host_id'] },
    project, zone, created,
    { key: 'instance_type', width: 130, more: true },
    { key: 'os_type', width: 90, more: true },
    { key: 'id', as: 'mono', width: 290, more: true },
  ],
  filters: [
    { key: 'status', options: ['running', 'ready', 'starting', 'stopping', 'sched_fail', 'disk_fail', 'start_fail', 'unknown'], words: 'status' },
    { key: 'host_id', of: 'hosts' },
    { key: 'os_type', options: ['Linux', 'Windows'], words: 'option' },
    { key: 'instance_type', of: 'serverskus' },
  ],
  facts: [
    { key: 'description' }, { key: 'hostname' }, { key: 'os_name', as: 'os', value: (r) => r.os_name || r.metadata?.os_distribution || r.os_type }, { key: 'hypervisor' }, { key: 'bios' }, { key: 'boot_order' }, { key: 'login_account' },
    { key: 'keypair', link: ['keypairs', 'keypair_id'] }, { key: 'macs', as: 'mono' }, { key: 'disable_delete', as: 'bool' }, { key: 'last_start_at', as: 'time' }, { key: 'updated_at', as: 'time' }, { key: 'status_reason' },
  ],
  hears: ['servers', 'disks', 'tasks'],
  create: { to: '/servers/new' },
  actions: [
    { key: 'start', icon: Play, bulk: true, right: 'servers/perform/start', why: (r) => must(r, 'ready', 'start_fail', 'stop_fail'), expect: 'start_start' },
    { key: 'stop', icon: Square, bulk: true, confirm: true, right: 'servers/perform/stop', why: (r) => must(r, 'running', 'stop_fail', 'unknown'), expect: 'start_stop',
      form: [{ key: 'is_force', kind: 'bool', initial: false, help: 'force' }, { key: 'timeout_secs', kind: 'number', initial: 60, min: 1, max: 3600 }] },
    { key: 'restart', icon: RotateCw, bulk: true, confirm: true, right: 'servers/perform/restart', why: (r) => must(r, 'running'), expect: 'start_stop', form: [{ key: 'is_force', kind: 'bool', initial: false, help: 'force' }] },
    { key: 'reset', icon: Zap, danger: true, confirm: true, right: 'servers/perform/reset', why: (r) => must(r, 'running') },
    { key: 'change-config', icon: Ruler, right: 'servers/perform/change-config', why: (r) => must(r, 'ready', 'running'),
      form: [
        { key: 'vcpu_count', kind: 'number', required: true, min: 1, max: 128, initial: (r: Row) => r.vcpu_count, help: 'resize' },
        { key: 'vmem_size', kind: 'size', required: true, initial: (r: Row) => r.vmem_size },
      ], body: (v) => ({ ...v, vmem_size: `${v.vmem_size}M` }) },
    { key: 'createdisk', icon: Plus, right: 'servers/perform/createdisk', why: (r) => must(r, 'ready', 'running'), form: [{ key: 'size', kind: 'size', required: true, initial: 10240 }],
      body: (v) => ({ disks: [{ size: v.size }] }) },
    { key: 'attachdisk', icon: HardDrive, right: 'servers/perform/attachdisk', why: (r) => must(r, 'ready', 'running'), form: [{ key: 'disk_id', kind: 'ref', of: 'disks', query: { unused: true }, required: true }] },
    { key: 'attachnetwork', icon: Network, right: 'servers/perform/attachnetwork', why: (r) => must(r, 'ready', 'running'), form: [{ key: 'network', kind: 'ref', of: 'networks', required: true }, { key: 'address', kind: 'text', help: 'address' }],
      body: (v) => ({ nets: [{ network: v.network, ...(v.address ? { address: v.address } : {}) }] }) },
    { key: 'rebuild-root', icon: Eraser, danger: true, confirm: true, right: 'servers/perform/rebuild-root', why: (r) => must(r, 'ready', 'running'),
      form: [{ key: 'image_id', kind: 'ref', of: 'images', required: true }, { key: 'keypair_id', kind: 'ref', of: 'keypairs' }, { key: 'auto_start', kind: 'bool', initial: true }],
      blast: async (r) => [['blast.root', { disk: r.disks_info?.[0]?.name ?? '' }]] },
    { key: 'syncstatus', icon: RefreshCw, bulk: true, right: 'servers/perform/syncstatus', why: (r) => binned(r) },
    edit('servers', [{ key: 'disable_delete', kind: 'bool', initial: (r: Row) => !!r.disable_delete }]),
    remove('servers', {
      why: (r) => guarded(r) ?? busy(r) ?? (r.status === 'running' ? ['why.running'] : null),
      undo: { action: 'cancel-delete' },
      blast: async (r) => [
        ...(r.disks_info ?? []).map((d: any) => ['blast.disk', { name: d.name, size: d.size }] as [string, any]),
        ...(r.nics ?? []).map((n: any) => ['blast.address', { ip: n.ip_addr, network: n.network }] as [string, any]),
        ['blast.bin'],
      ],
    }),
    ...bin('servers'),
  ],
  tabs: [
    { key: 'monitor', part: () => import('@/parts/ServerMonitor.vue') },
    { key: 'disks', part: () => import('@/parts/ServerDisks.vue') },
    { key: 'networks', part: () => import('@/parts/ServerNics.vue') },
    { key: 'snapshots', part: () => import('@/parts/ServerSnapshots.vue') },
    { key: 'security', part: () => import('@/parts/ServerSecurity.vue') },
    { key: 'console', part: () => import('@/parts/ServerConsole.vue') },
  ],
}

export const disks: Description = {
  plural: 'disks', singular: 'disk', service: 'compute', scope: 'project', group: 'storage', icon: HardDrive, bin: true,
  columns: [
    name, status,
    { key: 'disk_size', as: 'mib', width: 100, sort: true },
    { key: 'disk_type', width: 90 },
    { key: 'disk_format', width: 90 },
    { key: 'guest', width: 140, link: ['servers', 'guest_id'], value: (r) => r.guest },
    { key: 'storage', width: 190, link: ['storages', 'storage_id'] },
    project, zone, created,
  ],
  filters: [{ key: 'status', options: ['ready', 'allocating', 'alloc_failed', 'attaching', 'resizing'], words: 'status' }, { key: 'disk_type', options: ['sys', 'data'], words: 'option' }, { key: 'storage_id', of: 'storages' }],
  facts: [{ key: 'description' }, { key: 'storage_type' }, { key: 'medium_type' }, { key: 'auto_delete', as: 'bool' }, { key: 'template_id', as: 'mono' }, { key: 'access_path', as: 'mono' }, { key: 'status_reason' }],
  hears: ['disks', 'servers'],
  create: { form: [
    { key: 'name', kind: 'text', required: true }, { key: 'disk_size', kind: 'size', required: true, initial: 10240 }, { key: 'storage_id', kind: 'ref', of: 'storages', required: true },
    { key: 'disk_format', kind: 'select', options: ['qcow2', 'raw'], initial: 'qcow2' }, { key: 'description', kind: 'text' },
  ] },
  actions: [
    { key: 'resize', icon: Maximize2, right: 'disks/perform/resize', why: (r) => must(r, 'ready'), form: [{ key: 'size', kind: 'size', required: true, initial: (r: Row) => r.disk_size, help: 'grow' }], body: (v) => ({ size: `${v.size}M` }) },
    edit('disks'),
    remove('disks', { why: (r) => guarded(r) ?? (r.guest_count ? ['why.attached', { name: r.guest }] : busy(r)), undo: { action: 'cancel-delete' }, blast: async () => [['blast.bin']] }),
    ...bin('disks'),
  ],
}

export const images: Description = {
  plural: 'images', singular: 'image', service: 'image', scope: 'project', group: 'compute', icon: Image, bin: true,
  columns: [
    name, status,
    { key: 'os_type', as: 'os', width: 120, value: (r) => r.properties?.os_distribution ?? r.properties?.os_type ?? '' },
    { key: 'disk_format', width: 90, sort: true },
    { key: 'size', as: 'bytes', width: 90, sort: true },
    { key: 'min_disk', as: 'mib', width: 135 },
    { key: 'is_public', as: 'bool', width: 90 },
    { key: 'protected', as: 'bool', width: 115, value: (r) => r.protected ?? r.disable_delete },
    project, created,
  ],
  filters: [{ key: 'status', options: ['active', 'queued', 'saving', 'converting', 'killed'], words: 'status' }, { key: 'disk_format', options: ['qcow2', 'raw', 'iso', 'vmdk', 'vhd'], words: 'option' }],
  facts: [{ key: 'description' }, { key: 'os_arch' }, { key: 'min_ram', as: 'mib' }, { key: 'checksum', as: 'mono' }, { key: 'is_standard', as: 'bool' }, { key: 'properties', as: 'json' }],
  hears: ['images'],
  create: { to: '/images/upload' },
  actions: [
    { key: 'use', icon: Server, right: 'servers/create', wire: '/servers/new?image=', why: (r) => must(r, 'active') },
    ...sharing('images'),
    { key: 'probe', icon: HeartPulse, right: 'images/perform/probe', why: (r) => must(r, 'active') },
    edit('images', [{ key: 'protected', kind: 'bool', initial: (r: Row) => !!(r.protected ?? r.disable_delete) }]),
    remove('images', { why: guarded, undo: { action: 'cancel-delete' }, blast: async (r) => [...(await counts([['disks', { template_id: r.id }, 'blast.copies']])), ['blast.bin']] }),
    ...bin('images'),
  ],
}

export const serverskus: Description = {
  plural: 'serverskus', singular: 'serversku', service: 'compute', scope: 'system', group: 'compute', icon: Cpu,
  columns: [
    name,
    { key: 'cpu_core_count', width: 90, sort: true },
    { key: 'memory_size_mb', as: 'mib', width: 100, sort: true },
    { key: 'instance_type_category', width: 160 },
    { key: 'postpaid_status', as: 'status', width: 120 },
    { ...enabled }, { key: 'zone', width: 100 }, created,
  ],
  filters: [{ key: 'postpaid_status', options: ['available', 'soldout'], words: 'status' }],
  facts: [{ key: 'description' }, { key: 'os_name' }, { key: 'sys_disk_min_size_gb' }, { key: 'sys_disk_max_size_gb' }, { key: 'nic_max_count' }, { key: 'data_disk_max_count' }],
  hears: ['serverskus'],
  create: { form: [
    { key: 'name', kind: 'text', help: 'skuname' }, { key: 'cpu_core_count', kind: 'number', required: true, min: 1, max: 256, initial: 2 }, { key: 'memory_size_mb', kind: 'size', required: true, initial: 4096 },
    { key: 'instance_type_category', kind: 'select', options: ['general_purpose', 'compute_optimized', 'memory_optimized'], initial: 'general_purpose' }, { key: 'description', kind: 'text' },
  ] },
  actions: [
    { key: 'use', icon: Server, right: 'servers/create', wire: '/servers/new?sku=', why: (r) => (r.enabled === false ? ['why.already', { word: 'disabled' }] : null) },
    { key: 'enable', icon: Power, right: 'serverskus/perform/enable', bulk: true, why: (r) => (r.enabled ? ['why.already', { word: 'enabled' }] : null) },
    { key: 'disable', icon: Unplug, right: 'serverskus/perform/disable', bulk: true, confirm: true, why: (r) => (r.enabled ? null : ['why.already', { word: 'disabled' }]) },
    remove('serverskus', { blast: (r) => counts([['servers', { instance_type: r.name }, 'blast.sized']]) }),
  ],
}

export const keypairs: Description = {
  plural: 'keypairs', singular: 'keypair', service: 'compute', scope: 'project', group: 'compute', icon: KeyRound,
  columns: [name, { key: 'scheme', width: 100 }, { key: 'fingerprint', as: 'mono', width: 340 }, { key: 'linked_guest_count', label: 'servers', width: 90 }, { key: 'owner_name', width: 120, more: true }, created],
  facts: [{ key: 'description' }, { key: 'public_key', as: 'mono' }],
  hears: ['keypairs'],
  create: { form: [
    { key: 'name', kind: 'text', required: true }, { key: 'public_key', kind: 'area', help: 'publickey' },
    { key: 'scheme', kind: 'select', options: ['ED25519', 'RSA'], initial: 'ED25519' },
  ], body: (v) => (v.public_key ? { name: v.name, public_key: v.public_key } : v) },
  actions: [edit('keypairs'), remove('keypairs', { blast: (r) => counts([['servers', { keypair_id: r.id }, 'blast.keyed']]) })],
  tabs: [{ key: 'privatekey', part: () => import('@/parts/PrivateKey.vue'), show: (r) => r.private_key_len > 0 }, { key: 'servers', list: { plural: 'servers', query: (r) => ({ keypair_id: r.id }) } }],
}
