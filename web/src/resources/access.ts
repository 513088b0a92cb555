// Who is who, and what they may do.
import { FolderKanban, KeyRound, ScrollText, ShieldCheck, UserMinus, UserPlus, UserRound, UsersRound, Building2 } from '@lucide/vue'
import type { Row } from '@/api/resource'
import { about, counts, created, domain, edit, enabled, name, onOff, remove, sharing } from './rules'
import type { Description } from './types'

const displayname = { key: 'displayname', kind: 'text' as const, initial: (r: Row) => r.displayname ?? '' }
const members = (key: string) => [{ key, kind: 'refs' as const, of: key, required: true }]

export const projects: Description = {
  plural: 'projects', singular: 'project', service: 'identity', scope: 'domain', group: 'access', icon: FolderKanban,
  columns: [name, { key: 'displayname', width: 150 }, { ...domain, more: false }, { key: 'user_count', width: 90 }, { key: 'group_count', width: 90 }, about, created],
  hears: ['projects'],
  create: { form: [{ key: 'name', kind: 'text', required: true }, { key: 'displayname', kind: 'text' }, { key: 'description', kind: 'text' }] },
  actions: [
    { key: 'join', icon: UserPlus, right: 'projects/perform/join', form: [{ key: 'users', kind: 'refs', of: 'users' }, { key: 'groups', kind: 'refs', of: 'groups' }, { key: 'roles', kind: 'refs', of: 'roles', required: true }] },
    edit('projects', [displayname]),
    remove('projects', { blast: (r) => counts([['servers', { project_id: r.id }, 'blast.servers'], ['disks', { project_id: r.id }, 'blast.disks'], ['images', { project_id: r.id }, 'blast.images']]) }),
  ],
  tabs: [{ key: 'members', part: () => import('@/parts/Members.vue') }, { key: 'servers', list: { plural: 'servers', query: (r) => ({ project_id: r.id }) } }],
}

export const users: Description = {
  plural: 'users', singular: 'user', service: 'identity', scope: 'domain', group: 'access', icon: UserRound,
  columns: [name, { key: 'displayname', width: 140 }, enabled, { key: 'email', width: 180 }, { key: 'enable_mfa', as: 'bool', width: 145 }, { key: 'allow_web_console', as: 'bool', width: 100 }, { ...domain, more: false }, { key: 'last_active_at', as: 'time', width: 155 }, { ...created, more: true }],
  filters: [{ key: 'enabled', options: ['true', 'false'], words: 'option' }],
  facts: [{ key: 'description' }, { key: 'mobile' }, { key: 'lang' }, { key: 'last_login_ip', as: 'mono' }, { key: 'last_login_source' }, { key: 'is_system_account', as: 'bool' }, { key: 'expired_at', as: 'time' }],
  hears: ['users'],
  create: { form: [
    { key: 'name', kind: 'text', required: true }, { key: 'displayname', kind: 'text' }, { key: 'password', kind: 'password', required: true, help: 'password' }, { key: 'email', kind: 'text' },
    { key: 'allow_web_console', kind: 'bool', initial: true }, { key: 'enable_mfa', kind: 'bool', initial: false, help: 'mfa' },
  ] },
  actions: [
    { key: 'join', icon: UserPlus, right: 'users/perform/join', form: [{ key: 'projects', kind: 'refs', of: 'projects', required: true }, { key: 'roles', kind: 'refs', of: 'roles', required: true }] },
    { key: 'set-password', method: 'update', icon: KeyRound, right: 'users/update', form: [{ key: 'password', kind: 'password', required: true, help: 'password' }], why: (r) => (r.is_system_account ? ['why.system'] : null) },
    ...onOff('users'),
    edit('users', [displayname, { key: 'email', kind: 'text', initial: (r: Row) => r.email ?? '' }, { key: 'allow_web_console', kind: 'bool', initial: (r: Row) => !!r.allow_web_console }, { key: 'enable_mfa', kind: 'bool', initial: (r: Row) => !!r.enable_mfa, help: 'mfa' }]),
    { key: 'reset-credentials', icon: ShieldCheck, danger: true, confirm: true, right: 'users/perform/reset-credentials', body: () => ({ type: 'totp' }) },
    remove('users', { blast: (r) => counts([['keypairs', { owner_id: r.id }, 'blast.keypairs']]) }),
  ],
  tabs: [{ key: 'members', part: () => import('@/parts/Members.vue') }],
}

export const groups: Description = {
  plural: 'groups', singular: 'group', service: 'identity', scope: 'domain', group: 'access', icon: UsersRound,
  columns: [name, { key: 'displayname', width: 160 }, { key: 'user_count', width: 90 }, { key: 'project_count', width: 90 }, { ...domain, more: false }, about, created],
  hears: ['groups'],
  create: { form: [{ key: 'name', kind: 'text', required: true }, { key: 'displayname', kind: 'text' }, { key: 'description', kind: 'text' }] },
  actions: [
    { key: 'add-users', icon: UserPlus, right: 'groups/perform/add-users', form: members('users'), body: (v) => ({ users: v.users }) },
    { key: 'remove-users', icon: UserMinus, right: 'groups/perform/remove-users', form: members('users'), body: (v) => ({ users: v.users }) },
    { key: 'join', icon: FolderKanban, right: 'groups/perform/join', form: [{ key: 'projects', kind: 'refs', of: 'projects', required: true }, { key: 'roles', kind: 'refs', of: 'roles', required: true }] },
    edit('groups', [displayname]), remove('groups'),
  ],
  tabs: [{ key: 'users', list: { plural: 'users', query: (r) => ({ group: r.id }) } }, { key: 'members', part: () => import('@/parts/Members.vue') }],
}

export const roles: Description = {
  plural: 'roles', singular: 'role', service: 'identity', scope: 'domain', group: 'access', icon: ShieldCheck,
  columns: [name, { key: 'user_count', width: 90 }, { key: 'project_count', width: 90 }, { key: 'match_policies', as: 'list', width: 260 }, { ...domain, more: false }, about],
  facts: [{ key: 'is_public', as: 'bool' }, { key: 'created_at', as: 'time' }],
  hears: ['roles'],
  create: { form: [{ key: 'name', kind: 'text', required: true }, { key: 'description', kind: 'text' }] },
  actions: [{ key: 'add-policy', icon: ScrollText, right: 'roles/perform/add-policy', form: [{ key: 'policy_id', kind: 'ref', of: 'policies', required: true }] }, ...sharing('roles'), edit('roles'), remove('roles', { why: (r) => (r.user_count ? ['why.held', { n: r.user_count }] : null) })],
  tabs: [{ key: 'members', part: () => import('@/parts/Members.vue') }],
}

export const policies: Description = {
  plural: 'policies', singular: 'policy', service: 'identity', scope: 'domain', group: 'access', icon: ScrollText,
  columns: [name, { key: 'scope', width: 110, sort: true }, enabled, { key: 'is_system', as: 'bool', width: 100 }, { ...domain, more: false }, about],
  filters: [{ key: 'scope', options: ['system', 'domain', 'project'], words: 'option' }],
  facts: [{ key: 'blob', as: 'json' }],
  hears: ['policies'],
  actions: [...onOff('policies').map((a) => ({ ...a, why: (r: Row) => (r.is_system ? (['why.system'] as [string]) : a.why!(r)) })), edit('policies'), remove('policies')],
}

export const domains: Description = {
  plural: 'domains', singular: 'domain', service: 'identity', scope: 'system', group: 'access', icon: Building2,
  columns: [name, enabled, { key: 'user_count', width: 90 }, { key: 'group_count', width: 90 }, { key: 'project_count', width: 100 }, about, created],
  hears: ['domains'],
  create: { form: [{ key: 'name', kind: 'text', required: true }, { key: 'description', kind: 'text' }] },
  actions: [...onOff('domains'), edit('domains'), remove('domains', { why: (r) => (r.enabled ? ['why.enabled'] : null) })],
}
