// Who is logged in, in which view, and what they may do. The token itself never reaches this page.
import { computed, reactive } from 'vue'
import { get, post, renewing } from './http'

export type Scope = 'project' | 'domain' | 'system'
export interface Project {
  id: string
  name: string
  domain: string
  domain_id: string
  project_capable?: boolean
  domain_capable?: boolean
  system_capable?: boolean
}
export interface User {
  id: string
  name: string
  displayname?: string
  email?: string
  mobile?: string
  lang?: string
  last_login_ip?: string
  last_active_at?: string
  enable_mfa?: boolean
  need_reset_password?: boolean
  domain: { id: string; name: string }
  projectId: string
  projectName: string
  roles: string[]
  projects: Project[]
  services: { type: string; status: boolean }[]
  is_local?: boolean
  idps?: unknown[]
}

export const session = reactive({ user: null as User | null, scope: 'project' as Scope, rights: {} as Record<string, boolean> })

export const cookie = (name: string): string => {
  const found = document.cookie.split('; ').find((c) => c.startsWith(`${name}=`))
  return found ? decodeURIComponent(found.slice(name.length + 1)) : ''
}

/** What the readable cookie says; null before login. It carries no secret. */
export function badge(): null | { user: string; user_id: string; totp_on: boolean; totp_init: boolean; totp_verified: boolean; system_totp_on: boolean } {
  try {
    const bytes = atob(cookie('yunionauth').replace(/-/g, '+').replace(/_/g, '/'))
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0))))
  } catch {
    return null
  }
}

/** What stands between a fresh login and the console: a second factor to set up or to show. */
export function secondFactor(): 'none' | 'init' | 'verify' {
  const b = badge()
  if (!b || !b.totp_on || !b.system_totp_on || b.totp_verified) return 'none'
  return b.totp_init ? 'verify' : 'init'
}

export const may = (key: string) => session.rights[key] !== false
export const mayWide = computed(() => session.scope !== 'project')

const asked: Record<string, string[]> = {}
/** Descriptions name the rights they need; all are asked for at once. Key: `servers/perform/start`. */
export function needs(service: string, key: string, scope: Scope) {
  const [resource, action, ...extra] = key.split('/')
  asked[key] = [scope, service, resource, action, ...extra]
}

let begun: Promise<void> | undefined
/** The first [`load`], begun while the page is being put together; whoever waits for it gets that one. */
export function begin(): Promise<void> {
  begun ??= load()
  // Told to whoever waits.
  begun.catch(() => undefined)
  return begun
}
export async function load() {
  begun = undefined
  const [answer, rights] = await Promise.all([get<{ data: User }>('/v1/auth/user'), post<Record<string, string[]>>('/v1/auth/permissions', asked)])
  const user = answer.data ?? (answer as unknown as User)
  user.projects ??= []
  session.user = user
  const scope = cookie('scope') as Scope
  const mine = user.projects.find((p) => p.id === user.projectId)
  const fits = (s: Scope) => (s === 'system' ? mine?.system_capable : s === 'domain' ? mine?.domain_capable : true)
  session.scope = (['system', 'domain', 'project'] as Scope[]).find((s) => (scope ? s === scope : true) && fits(s)) ?? 'project'
  session.rights = Object.fromEntries(Object.entries(rights).map(([key, tail]) => [key, tail[tail.length - 1] === 'allow']))
}

export const login = (username: string, password: string, domain: string, captcha = '') =>
  post('/v1/auth/login', { username, password, domain: domain || undefined, captcha: captcha || undefined })
export const switchTo = (tenantId: string, scope: Scope) => renewing(() => post('/v1/auth/login', { tenantId, scope }))
/** What [`begin`] began, once; later calls ask again. */
export function arrive(): Promise<void> {
  const mine = begun ?? load()
  begun = undefined
  return mine
}
export async function logout() {
  await post('/v1/auth/logout').catch(() => undefined)
  session.user = null
}
