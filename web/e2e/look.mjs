// Pictures of the main pages in both languages, both themes, on a desk and on a phone. Each page is judged: rules of accessibility, overflow, clipped
// words, keys instead of words, and how much of it moved while it came (cumulative layout shift).
//   node e2e/look.mjs URL PASSWORD [DIRECTORY] [only-these,pages]
// WOLKE_IMAGE: a disk that boots; with it the platform is filled first with what pictures show. WOLKE_DOCS: where the pictures of docs/ go.
// WOLKE_PAGES: the same as the last argument.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { open, login, ready } from './browser.mjs'
import { fill } from './fill.mjs'
import { settled, watchShifts } from './shifts.mjs'

const [url, password, out = 'e2e/out', only = process.env.WOLKE_PAGES ?? ''] = process.argv.slice(2)
const wanted = (name) => !only || only.split(',').includes(name)
mkdirSync(out, { recursive: true })
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const USER = process.env.WOLKE_USER ?? 'admin'
/** What a page may move at most; beyond the second its causes are told. */
const MOST = 0.1
const NOTED = 0.02
const SIZES = { desk: { width: 1280, height: 720 }, phone: { width: 390, height: 844 } }
const wrong = []
/** Page → window → how much of it moved, the most of all themes and languages. */
const moved = {}

/** The pictures of docs/: page → themes and languages of the desk, and those of the phone. */
const BOTH = ['light-en', 'dark-zh']
const ALL = ['light-en', 'light-zh', 'dark-en', 'dark-zh']
const SHOWN = {
  overview: [ALL, BOTH], servers: [ALL, BOTH], server: [BOTH, ['light-en']], create: [BOTH, ['light-en']], task: [BOTH], login: [BOTH, ['light-en']],
  ...Object.fromEntries(['access', 'delete', 'events', 'hosts', 'images', 'network', 'palette', 'profile', 'screen', 'serial', 'server-monitor', 'tasks'].map((name) => [name, [BOTH]])),
}

/** What is wrong with the page as it stands. */
async function judge(page, name) {
  const found = await page.evaluate(() => {
    const wide = document.documentElement.scrollWidth > innerWidth + 1 || [...document.querySelectorAll('.main')].some((m) => m.scrollWidth > m.clientWidth + 1)
    const raw = [...document.body.innerText.matchAll(/\b(field|act|status|option|many|one|ui|list|why|teach|tab|page|help|wizard|overview|login|profile|plan|dock|idp|brand|upload|console|monitor)\.[a-z_-]+\b/g)].map((m) => m[0])
    // Words that end at an edge without an ellipsis, of elements with words of their own.
    const clipped = [...document.querySelectorAll('body *')].filter((e) => {
      if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !e.checkVisibility() || e.closest('.xterm, .hidden-text, option, select')) return false
      const style = getComputedStyle(e)
      const narrow = style.overflowX !== 'visible' && style.overflowX !== 'auto' && style.overflowX !== 'scroll' && style.textOverflow !== 'ellipsis' && e.scrollWidth > e.clientWidth + 1
      const button = e.closest('.btn')
      return narrow || (button && button.scrollWidth > button.clientWidth + 1)
    }).concat([...document.querySelectorAll('[role=columnheader] .cut, [role=columnheader]')].filter((e) => e.scrollWidth > e.clientWidth + 1)).map((e) => e.textContent.trim().slice(0, 40))
    return { wide, raw, clipped }
  })
  if (found.wide) wrong.push(`${name}: wider than the window`)
  if (found.raw.length) wrong.push(`${name}: untranslated ${[...new Set(found.raw)].join(' ')}`)
  if (found.clipped.length) wrong.push(`${name}: clipped ${[...new Set(found.clipped)].join(' | ')}`)
  // By a function of the browser's own debugger, which the page's policy does not bind.
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }))
  for (const v of violations) wrong.push(`${name}: ${v.id} (${v.impact}) ${v.nodes.slice(0, 3).map((n) => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).join(' | ')}`)
}

/** How much of the page moved since it was opened. */
async function shift(page, name, size, file) {
  const { value, causes } = await settled(page)
  moved[name] ??= {}
  moved[name][size] = Math.max(moved[name][size] ?? 0, value)
  if (value > MOST) wrong.push(`${file}: moved by ${value.toFixed(3)}, at most ${MOST} is right`)
  if (value > NOTED) console.log(`${file}: moved by ${value.toFixed(3)}: ${causes.join('; ')}`)
}

const browser = await open()
const first = async (page, plural, query = '') => page.evaluate(async ([p, q]) => (await (await fetch(`/api/v1/${p}?limit=1&details=true&scope=system${q}`)).json()).data?.[0]?.id ?? '', [plural, query])
if (process.env.WOLKE_IMAGE) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, locale: 'en-GB' })
  const page = await context.newPage()
  await login(page, url, USER, password)
  await fill(page, url, process.env.WOLKE_IMAGE)
  await context.close()
}

for (const [size, viewport] of Object.entries(SIZES))
  for (const theme of ['light', 'dark'])
    for (const lang of ['en', 'zh-CN']) {
      const context = await browser.newContext({ viewport, ignoreHTTPSErrors: true })
      context.setDefaultTimeout(60_000)
      await context.addInitScript(([t, l]) => localStorage.getItem('wolke.prefs') || localStorage.setItem('wolke.prefs', JSON.stringify({ theme: t, lang: l })), [theme, lang])
      await context.addInitScript(watchShifts)
      const page = await context.newPage()
      page.on('console', (m) => m.type() === 'error' && !/40[134]|50[023]|Failed to load/.test(m.text()) && wrong.push(`${size}-${theme}-${lang}: console: ${m.text()}`))
      page.on('pageerror', (e) => wrong.push(`${size}-${theme}-${lang}: ${e}`))
      const shoot = async (name, still = false) => {
        const file = `${name}-${size}-${theme}-${lang === 'en' ? 'en' : 'zh'}`
        // What opens above a page does not move it.
        if (!still) await shift(page, name, size, file)
        await page.screenshot({ path: `${out}/${file}.png` })
        await judge(page, file)
      }
      await page.goto(`${url}/login`)
      await page.locator('#user').waitFor()
      if (wanted('login')) await shoot('login')
      await login(page, url, USER, password)
      const id = Object.fromEntries(await Promise.all(['networks', 'tasks', 'hosts', 'users', 'images', 'projects'].map(async (p) => [p, await first(page, p)])))
      id.servers = (await first(page, 'servers', '&status=running&order_by=name&order=asc')) || (await first(page, 'servers'))
      id.tasks = (await first(page, 'tasks', `&obj_id=${id.servers}`)) || id.tasks
      const places = {
        overview: '/', servers: '/servers', server: `/servers/${id.servers}`, 'server-disks': `/servers/${id.servers}/disks`, 'server-networks': `/servers/${id.servers}/networks`, 'server-monitor': `/servers/${id.servers}/monitor`,
        'server-snapshots': `/servers/${id.servers}/snapshots`, 'server-security': `/servers/${id.servers}/security`, 'server-tasks': `/servers/${id.servers}/tasks`, 'server-events': `/servers/${id.servers}/events`,
        create: '/servers/new', images: '/images', image: `/images/${id.images}`, upload: '/images/upload', network: `/networks/${id.networks}/addresses`, networks: '/networks', disks: '/disks', hosts: '/hosts', host: `/hosts/${id.hosts}`,
        storages: '/storages', serverskus: '/serverskus', task: `/tasks/${id.tasks}`, tasks: '/tasks', events: '/events', access: '/access', projects: '/projects', project: `/projects/${id.projects}`, users: '/users', user: `/users/${id.users}`,
        groups: '/groups', roles: '/roles', policies: '/policies', quotas: '/quotas', profile: '/profile', licence: '/licence', branding: '/branding', keypairs: '/keypairs', bin: '/servers?bin=1', nowhere: '/there-is-no-such-page',
      }
      for (const [name, path] of Object.entries(places)) {
        if (!wanted(name) || /\/(undefined)?(\/|$)/.test(path.slice(1))) continue
        await page.goto(url + path)
        await ready(page)
        if (name === 'access') await shift(page, name, size, name), await page.locator('[data-ask]').click(), await page.locator('[data-answer]').waitFor()
        await shoot(name, name === 'access')
      }
      for (const [name, query] of [['screen', ''], ['serial', '?kind=serial']]) {
        if (!wanted(name) || !id.servers) continue
        await page.goto(`${url}/servers/${id.servers}/console${query}`)
        await ready(page)
        if (!(await page.locator('[data-console-state=open]').waitFor({ timeout: 20_000 }).then(() => true, () => false))) continue
        if (name === 'serial') {
          await page.locator('.xterm-helper-textarea').focus()
          await page.keyboard.press('Enter')
          await page.waitForFunction(() => document.querySelector('.xterm-rows')?.textContent.trim().length > 10)
        } else await page.locator('.screen canvas').waitFor()
        await shoot(name)
      }
      if (wanted('palette')) {
        await page.goto(`${url}/servers`)
        await ready(page)
        await page.keyboard.press('Control+k')
        await page.keyboard.type('web')
        await page.locator('.palette [role=option]', { hasText: 'web-' }).first().waitFor()
        await shoot('palette', true)
        await page.keyboard.press('Escape')
      }
      if (wanted('delete')) {
        const stopped = await first(page, 'servers', '&status=ready&pending_delete=false')
        if (stopped) {
          await page.goto(`${url}/servers/${stopped}`)
          await ready(page)
          await page.locator('.head button[aria-haspopup=menu]').click()
          await page.locator('[role=menuitem][data-action=delete]').click()
          await page.locator('[role=dialog] .note.warn').waitFor()
          await page.evaluate(() => Promise.all(document.getAnimations().filter((a) => a.effect.getTiming().iterations !== Infinity).map((a) => a.finished)))
          await shoot('delete', true)
        }
      }
      await context.close()
    }
await browser.close()

const docs = process.env.WOLKE_DOCS
if (docs) {
  const files = Object.entries(SHOWN).flatMap(([name, sizes]) => sizes.flatMap((looks, i) => looks.map((look) => `${name}-${Object.keys(SIZES)[i]}-${look}.png`)))
  for (const old of readdirSync(docs).filter((f) => /^[a-z-]+-(desk|phone)-(light|dark)-(en|zh)\.png$/.test(f) && !files.includes(f))) rmSync(join(docs, old))
  for (const file of files)
    if (existsSync(join(out, file))) copyFileSync(join(out, file), join(docs, file))
    else if (!only) wrong.push(`${file} is wanted for docs/ and was not taken`)
}
const seen = [...new Set(wrong)]
console.log('layout shift, the most of both themes and languages (desk, phone):')
for (const [name, by] of Object.entries(moved)) console.log(`  ${name.padEnd(18)} ${Object.keys(SIZES).map((s) => (by[s] ?? NaN).toFixed(3)).join('  ')}`)
console.log(seen.join('\n') || 'nothing wrong')
process.exitCode = seen.length ? 1 : 0
