// Networks, hosts and storages.
import { Anchor, Cable, Database, MapPin, Network, Server, Settings2 } from '@lucide/vue'
import type { Row } from '@/api/resource'
import { about, counts, created, domain, edit, enabled, name, onOff, project, remove, sharing, status, zone } from './rules'
import type { Description } from './types'

export const networks: Description = {
  plural: 'networks', singular: 'network', service: 'compute', scope: 'project', group: 'network', icon: Network,
  columns: [
    name, status,
    { key: 'guest_ip_start', label: 'range', as: 'mono', width: 230, value: (r) => `${r.guest_ip_start} – ${r.guest_ip_end}` },
    { key: 'guest_gateway', as: 'mono', width: 130 },
    { key: 'vlan_id', width: 70, sort: true },
    { key: 'ports_used', as: 'percent', width: 150, value: (r) => [r.ports_used ?? 0, r.ports ?? 0] },
    { key: 'wire', width: 110 }, { key: 'vpc', width: 110, more: true }, project, zone,
    { key: 'is_public', as: 'bool', width: 90, more: true }, { ...created, more: true },
  ],
  filters: [{ key: 'server_type', options: ['guest', 'baremetal', 'container', 'eip'], words: 'option' }, { key: 'wire_id', of: 'wires' }],
  facts: [{ key: 'description' }, { key: 'guest_ip_mask' }, { key: 'dns', as: 'mono' }, { key: 'guest_dhcp', as: 'mono' }, { key: 'guest_ntp', as: 'mono' }, { key: 'server_type' }, { key: 'alloc_policy' }, { key: 'is_auto_alloc', as: 'bool' }, { key: 'host_nat', as: 'bool' }],
  hears: ['networks', 'servers'],
  create: { form: [
    { key: 'name', kind: 'text', required: true }, { key: 'wire_id', kind: 'ref', of: 'wires', required: true },
    { key: 'guest_ip_start', kind: 'text', required: true }, { key: 'guest_ip_end', kind: 'text', required: true }, { key: 'guest_ip_mask', kind: 'number', required: true, initial: 24, min: 8, max: 30 },
    { key: 'guest_gateway', kind: 'text' }, { key: 'guest_dns', kind: 'text' }, { key: 'vlan_id', kind: 'number', initial: 1, min: 1, max: 4094 },
  ] },
  actions: [
    { key: 'reserve-ip', icon: Anchor, right: 'networks/perform/reserve-ip', form: [{ key: 'ips', kind: 'area', required: true, help: 'ips' }, { key: 'notes', kind: 'text' }],
      body: (v) => ({ ips: String(v.ips).split(/[\s,]+/).filter(Boolean), notes: v.notes }) },
    ...sharing('networks'),
    edit('networks', [{ key: 'guest_dns', kind: 'text', initial: (r: Row) => r.guest_dns ?? '' }, { key: 'is_auto_alloc', kind: 'bool', initial: (r: Row) => !!r.is_auto_alloc }]),
    remove('networks', { why: (r) => (r.vnics ? ['why.inuse', { n: r.vnics }] : null), blast: (r) => counts([['reservedips', { network_id: r.id }, 'blast.reserved']]) }),
  ],
  tabs: [{ key: 'addresses', part: () => import('@/parts/AddressMap.vue') }],
}

export const wires: Description = {
  plural: 'wires', singular: 'wire', service: 'compute', scope: 'domain', group: 'network', icon: Cable,
  columns: [name, status, { key: 'vpc', width: 120 }, { key: 'bandwidth', width: 110 }, { key: 'mtu', width: 80 }, { key: 'networks', label: 'networks', width: 90 }, { key: 'host_count', width: 80 }, { ...zone, more: false }, created],
  facts: [{ key: 'description' }], hears: ['wires'],
  create: { form: [{ key: 'name', kind: 'text', required: true }, { key: 'vpc_id', kind: 'ref', of: 'vpcs', required: true }, { key: 'zone_id', kind: 'ref', of: 'zones', required: true }, { key: 'bandwidth', kind: 'number', initial: 1000, min: 1 }, { key: 'mtu', kind: 'number', initial: 1500, min: 576, max: 9216 }] },
  actions: [edit('wires'), remove('wires', { blast: (r) => counts([['networks', { wire_id: r.id }, 'blast.networks']]) })],
  tabs: [{ key: 'networks', list: { plural: 'networks', query: (r) => ({ wire_id: r.id }) } }],
}

export const hosts: Description = {
  plural: 'hosts', singular: 'host', service: 'compute', scope: 'domain', group: 'infrastructure', icon: Server,
  columns: [
    name, { key: 'host_status', as: 'status', width: 120, sort: true }, enabled,
    { key: 'access_ip', as: 'mono', width: 130 },
    { key: 'cpu_commit', as: 'percent', width: 160, value: (r) => [r.cpu_commit ?? 0, r.cpu_count ?? 0] },
    { key: 'mem_commit', as: 'percent', width: 210, value: (r) => [r.mem_commit ?? 0, r.mem_size ?? 0, 'mib'] },
    { key: 'mem_size', as: 'mib', width: 100, more: true },
    { key: 'guests', label: 'servers', width: 95, value: (r) => r.guests ?? r.nonsystem_guests ?? '' },
    zone, { key: 'version', width: 110, more: true }, { ...created, more: true },
  ],
  filters: [{ key: 'host_status', options: ['online', 'offline'], words: 'status' }, { key: 'enabled', options: ['true', 'false'], words: 'option' }],
  facts: [status, { key: 'description' }, { key: 'hostname' }, { key: 'cpu_desc' }, { key: 'cpu_architecture' }, { key: 'cpu_count' }, { key: 'cpu_cmtbound' }, { key: 'mem_cmtbound' }, { key: 'host_type' }, { key: 'sn' }, { key: 'uuid', as: 'mono' }, { key: 'sys_info', as: 'json' }],
  hears: ['hosts', 'servers'],
  actions: [
    ...onOff('hosts').map((a) => (a.key === 'disable' ? { ...a, blast: (r: Row) => counts([['servers', { host_id: r.id }, 'blast.stay']]) } : a)),
    { key: 'set-commit-bound', icon: Settings2, right: 'hosts/perform/set-commit-bound', form: [{ key: 'cpu_cmtbound', kind: 'number', initial: (r: Row) => r.cpu_cmtbound, min: 0 }, { key: 'mem_cmtbound', kind: 'number', initial: (r: Row) => r.mem_cmtbound, min: 0 }] },
    edit('hosts'),
    remove('hosts', { why: (r) => (r.enabled ? ['why.enabled'] : r.host_status === 'online' ? ['why.online'] : null), blast: (r) => counts([['servers', { host_id: r.id }, 'blast.servers']]) }),
  ],
  tabs: [{ key: 'servers', list: { plural: 'servers', query: (r) => ({ host_id: r.id }) } }, { key: 'storages', list: { plural: 'storages', query: (r) => ({ host_id: r.id }) } }],
}

export const storages: Description = {
  plural: 'storages', singular: 'storage', service: 'compute', scope: 'domain', group: 'storage', icon: Database,
  columns: [
    name, status, enabled,
    { key: 'storage_type', width: 100 }, { key: 'medium_type', width: 90 },
    { key: 'capacity', as: 'mib', width: 100, sort: true },
    { key: 'used', as: 'percent', width: 210, value: (r) => [(r.virtual_capacity ?? r.capacity ?? 0) - (r.free_capacity ?? 0), r.virtual_capacity ?? r.capacity ?? 0, 'mib'] },
    { key: 'host_count', width: 80 }, zone, { ...created, more: true },
  ],
  filters: [{ key: 'storage_type', options: ['local', 'nfs', 'rbd', 'lvm'], words: 'option' }],
  facts: [{ key: 'description' }, { key: 'free_capacity', as: 'mib' }, { key: 'virtual_capacity', as: 'mib' }, { key: 'actual_capacity_used', as: 'mib' }, { key: 'reserved', as: 'mib' }, { key: 'commit_bound' }, { key: 'storage_conf', as: 'json' }],
  hears: ['storages', 'disks'],
  actions: [...onOff('storages'), edit('storages'), remove('storages', { why: (r) => (r.host_count ? ['why.hosted', { n: r.host_count }] : null), blast: (r) => counts([['disks', { storage_id: r.id }, 'blast.disks']]) })],
  tabs: [{ key: 'disks', list: { plural: 'disks', query: (r) => ({ storage_id: r.id }) } }],
}

export const zones: Description = {
  plural: 'zones', singular: 'zone', service: 'compute', scope: 'system', group: 'infrastructure', icon: MapPin,
  columns: [name, status, { key: 'region', width: 140 }, { key: 'hosts', width: 90 }, { key: 'storages', width: 90 }, about, created],
  hears: ['zones'], actions: [edit('zones'), remove('zones', { blast: (r) => counts([['hosts', { zone_id: r.id }, 'blast.hosts'], ['storages', { zone_id: r.id }, 'blast.storages']]) })],
  create: { form: [{ key: 'name', kind: 'text', required: true }, { key: 'cloudregion_id', kind: 'text', initial: 'default', required: true }, { key: 'description', kind: 'text' }] },
  tabs: [{ key: 'hosts', list: { plural: 'hosts', query: (r) => ({ zone_id: r.id }) } }],
}

export const vpcs: Description = {
  plural: 'vpcs', singular: 'vpc', service: 'compute', scope: 'domain', group: 'network', icon: Network, inner: true,
  columns: [name, status, { key: 'cidr_block', as: 'mono', width: 150 }, domain, created], hears: ['vpcs'], actions: [edit('vpcs')],
}
