// A stand-in for the gateway while pages are made: translates its dialect to the services of a live platform, and serves `dist`.
// Not shipped, no security: one process, one browser.   node dev/gateway.mjs http://127.0.0.1:7780 8080
import { createReadStream, existsSync } from 'node:fs'
import http from 'node:http'
import { extname, join, normalize } from 'node:path'

const [platform = 'http://127.0.0.1:7780', port = '8080'] = process.argv.slice(2)
const identity = new Set('users groups projects domains roles policies credentials application_credentials identity_providers services endpoints role_assignments rolepolicies'.split(' '))
const image = new Set(['images', 'sub_images'])
const single = { policies: 'policy', capabilities: 'capability', identity_providers: 'identity_provider', application_credentials: 'application_credential' }
const sessions = new Map()
const policy = "default-src 'self'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
let branding = { name: 'Wolke', logo: '', accent: '' }

const body = async (req) => {
  const parts = []
  for await (const p of req) parts.push(p)
  return Buffer.concat(parts)
}
const reply = (res, status, data, head = {}) => {
  res.writeHead(status, { 'content-type': 'application/json', ...head })
  res.end(JSON.stringify(data))
}
const place = (plural) =>
  plural.endsWith('-events')
    ? [plural.startsWith('identity') ? '/identity/v3' : '/image/v1', 'events']
    : identity.has(plural)
      ? ['/identity/v3', plural]
      : image.has(plural)
        ? ['/image/v1', plural]
        : ['/compute', plural]
const one = (plural) => single[plural] ?? plural.replace(/s$/, '')

async function token(auth) {
  const answer = await fetch(`${platform}/identity/v3/auth/tokens`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ auth }) })
  const told = await answer.json()
  return { status: answer.status, token: answer.headers.get('x-subject-token'), told }
}
const ask = async (s, method, path, data) => {
  const answer = await fetch(platform + path, { method, headers: { 'x-auth-token': s.token, 'content-type': 'application/json' }, body: data === undefined ? undefined : JSON.stringify(data) })
  const text = await answer.text()
  return { status: answer.status, data: text ? JSON.parse(text) : {} }
}

async function login(req, res, s) {
  const asked = JSON.parse(await body(req))
  let out
  if (asked.tenantId) out = await token({ identity: { methods: ['token'], token: { id: s.token } }, scope: { project: { id: asked.tenantId } } })
  else {
    const user = { name: asked.username, password: asked.password, domain: { name: asked.domain ?? 'Default' } }
    out = await token({ identity: { methods: ['password'], password: { user } } })
    if (out.status < 300) {
      const projects = (await ask(out, 'GET', '/identity/v3/auth/projects')).data.projects ?? []
      const first = projects.find((p) => p.name === 'system') ?? projects[0]
      if (first) out = await token({ identity: { methods: ['token'], token: { id: out.token } }, scope: { project: { id: first.id } } })
    }
  }
  if (out.status >= 300) return reply(res, out.status, out.told)
  const id = Math.random().toString(36).slice(2)
  const told = out.told.token
  sessions.set(id, { token: out.token, told })
  const badge = Buffer.from(JSON.stringify({ user: told.user.name, user_id: told.user.id, exp: told.expires_at })).toString('base64url')
  const system = told.roles?.some((r) => r.name === 'admin')
  const cookies = [`sid=${id}; HttpOnly; Path=/; SameSite=Lax`, `yunionauth=${badge}; Path=/`, `scope=${asked.scope ?? (system ? 'system' : 'project')}; Path=/`]
  res.writeHead(200, { 'set-cookie': cookies })
  res.end()
}

async function api(req, res, url) {
  const path = url.pathname.replace(/^\/api\/v[12]/, '').split('/').filter(Boolean).map(decodeURIComponent)
  const s = sessions.get(/sid=(\w+)/.exec(req.headers.cookie ?? '')?.[1])
  const route = path.join('/')
  if (route === 'branding') {
    if (req.method === 'PUT') branding = JSON.parse(await body(req))
    return reply(res, 200, branding)
  }
  if (route === 'auth/regions') return reply(res, 200, { regions: ['region0'], domains: ['Default'], idps: [], encrypt_passwd: false, api_server: '' })
  if (route === 'auth/login') return login(req, res, s)
  if (!s) return reply(res, 401, { code: 401, class: 'InvalidCredentialError', details: 'No token in header: log in' })
  if (route === 'auth/logout') return sessions.clear(), reply(res, 200, {}, { 'set-cookie': ['yunionauth=; Max-Age=0; Path=/', 'sid=; Max-Age=0; Path=/'] })
  if (route === 'auth/user') {
    const projects = (await ask(s, 'GET', '/identity/v3/auth/projects')).data.projects ?? []
    const system = s.told.roles?.some((r) => r.name === 'admin') ?? false
    const me = (await ask(s, 'GET', `/identity/v3/users/${s.told.user.id}`)).data.user ?? s.told.user
    const capable = (p) => ({ ...p, domain: p.domain?.name ?? 'Default', project_capable: true, domain_capable: system, system_capable: system })
    return reply(res, 200, { data: { ...me, domain: s.told.user.domain, projectId: s.told.project?.id, projectName: s.told.project?.name, roles: s.told.roles?.map((r) => r.name) ?? [], projects: projects.map(capable), services: ['compute', 'identity', 'image'].map((type) => ({ type, status: true })) } })
  }
  if (route === 'auth/permissions') {
    const keys = JSON.parse(await body(req))
    const admin = s.told.roles?.some((r) => r.name === 'admin')
    return reply(res, 200, Object.fromEntries(Object.entries(keys).map(([k, v]) => [k, [...v.slice(1), admin || /list|get/.test(v[3]) ? 'allow' : 'deny']])))
  }
  if (route === 'auth/password') {
    const p = JSON.parse(await body(req))
    const out = await ask(s, 'POST', `/identity/v3/users/${s.told.user.id}/password`, { user: { original_password: p.password_old, password: p.password_new } })
    return reply(res, out.status, out.data)
  }
  if (route === 'licenses') return reply(res, 200, { edition: 'community', status: 'valid', issued_to: '', not_before: null, not_after: null, limits: { hosts: 0, cpus: 0, servers: 0 }, used: { hosts: 6, cpus: 96, servers: 5 }, services: ['compute', 'identity', 'image'], features: [] })
  if (route === 'consoles') return reply(res, 503, { code: 503, class: 'ServiceUnavailable', details: 'the host of this server does not answer; try again in a moment', request_id: 'dev-1' })
  if (path[0] === 'live') return res.writeHead(404).end()
  if (path[0] === 'rpc') {
    const data = req.method === 'POST' ? JSON.parse((await body(req)) || '{}') : undefined
    if (path[1] === 'usages') return (({ status, data }) => reply(res, status, data.usage ?? data))(await ask(s, 'GET', `/compute/usages${url.search}`))
    if (path[1] === 'access') return (({ status, data }) => reply(res, status, data.access ?? data))(await ask(s, 'POST', `/identity/v3/access/${path[2]}`, data))
    if (path[1] === 'schedulers') return (({ status, data }) => reply(res, status, data))(await ask(s, 'POST', `/scheduler/scheduler/${path[2]}`, data))
    return reply(res, 404, { code: 404, class: 'NotFoundError', details: 'no such call' })
  }
  if (route === 'imageutils/upload') {
    const form = await new Response(await body(req), { headers: { 'content-type': req.headers['content-type'] } }).formData()
    const head = { 'x-auth-token': s.token, 'content-type': 'application/octet-stream' }
    for (const [k, v] of form) if (typeof v === 'string' && k !== 'image_size') head[`x-image-meta-${k.replace(/_/g, '-')}`] = v
    const answer = await fetch(`${platform}/image/v1/images`, { method: 'POST', headers: head, body: await form.get('image').arrayBuffer() })
    const told = await answer.json()
    return reply(res, answer.status, told.image ?? told)
  }
  const [base, plural] = place(path[0])
  const key = one(plural)
  const ids = url.searchParams.getAll('id')
  const unwrap = (d) => d?.[key] ?? d
  const wrap = (raw) => (raw.length ? { [key]: JSON.parse(raw) } : undefined)
  if (req.method === 'GET' && path.length === 1) {
    const out = await ask(s, 'GET', `${base}/${plural}${url.search}`)
    if (out.status >= 300) return reply(res, out.status, out.data)
    const rows = out.data[plural] ?? []
    return reply(res, 200, { data: rows, total: out.data.total ?? rows.length, limit: out.data.limit, offset: out.data.offset })
  }
  const raw = req.method === 'GET' ? '' : String(await body(req))
  if (ids.length && path.length <= 2) {
    url.searchParams.delete('id')
    const method = req.method === 'POST' || path.length === 2 ? 'POST' : req.method
    const all = await Promise.all(
      ids.map(async (id) => {
        const out = await ask(s, method, `${base}/${plural}/${id}${path[1] ? `/${path[1]}` : ''}${url.search}`, wrap(raw))
        return { id, status: out.status, data: unwrap(out.data) }
      }),
    )
    return reply(res, 207, { data: all })
  }
  const out = await ask(s, req.method, `${base}/${[plural, ...path.slice(1).map(encodeURIComponent)].join('/')}${url.search}`, wrap(raw))
  reply(res, out.status, out.status < 300 ? unwrap(out.data) : out.data)
}

const kinds = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.html': 'text/html; charset=utf-8' }
http
  .createServer((req, res) => {
    const url = new URL(req.url, 'http://x')
    if (url.pathname.startsWith('/api/')) return void api(req, res, url).catch((e) => reply(res, 502, { code: 502, class: 'BadGateway', details: String(e) }))
    const wanted = join('dist', normalize(url.pathname))
    const file = extname(wanted) && existsSync(wanted) ? wanted : 'dist/index.html'
    res.writeHead(200, { 'content-type': kinds[extname(file)] ?? 'application/octet-stream', 'content-security-policy': policy })
    createReadStream(file).pipe(res)
  })
  .listen(Number(port), '127.0.0.1', () => console.log(`http://127.0.0.1:${port}`))
