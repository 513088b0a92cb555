// Pictures of the main pages in both languages, both themes, on a desk and on a phone; each is checked by axe and for overflow.
//   node e2e/look.mjs URL PASSWORD [DIRECTORY] [only-these,pages]
import { readFileSync, mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { open, login, ready } from './browser.mjs'

const [url, password, out = 'e2e/out', only = ''] = process.argv.slice(2)
mkdirSync(out, { recursive: true })
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const browser = await open()
const SIZES = { desk: { width: 1280, height: 720 }, phone: { width: 390, height: 844 } }
const wrong = []

const first = async (page, plural) => page.evaluate(async (p) => (await (await fetch(`/api/v1/${p}?limit=1&details=true&scope=system`)).json()).data?.[0]?.id ?? '', plural)

/** What is wrong with the page as it stands: overflow, keys instead of words, rules of accessibility. */
async function judge(page, name) {
  const found = await page.evaluate(() => {
    const wide = document.documentElement.scrollWidth > innerWidth + 1 || [...document.querySelectorAll('.main')].some((m) => m.scrollWidth > m.clientWidth + 1)
    const raw = [...document.body.innerText.matchAll(/\b(field|act|status|option|many|one|ui|list|why|teach|tab|page|help|wizard|overview)\.[a-z_-]+\b/g)].map((m) => m[0])
    return { wide, raw }
  })
  if (found.wide) wrong.push(`${name}: wider than the window`)
  if (found.raw.length) wrong.push(`${name}: untranslated ${[...new Set(found.raw)].join(' ')}`)
  // By a function of the browser's own debugger, which the page's policy does not bind.
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }))
  for (const v of violations) wrong.push(`${name}: ${v.id} (${v.impact}) ${v.nodes.slice(0, 3).map((n) => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).join(' | ')}`)
}

for (const [size, viewport] of Object.entries(SIZES))
  for (const theme of ['light', 'dark'])
    for (const lang of ['en', 'zh-CN']) {
      const context = await browser.newContext({ viewport, ignoreHTTPSErrors: true })
      await context.addInitScript(([t, l]) => localStorage.getItem('wolke.prefs') || localStorage.setItem('wolke.prefs', JSON.stringify({ theme: t, lang: l })), [theme, lang])
      const page = await context.newPage()
      page.on('console', (m) => m.type() === 'error' && !/40[134]|50[023]|Failed to load/.test(m.text()) && wrong.push(`${size}-${theme}-${lang}: console: ${m.text()}`))
      page.on('pageerror', (e) => wrong.push(`${size}-${theme}-${lang}: ${e}`))
      const shoot = async (name) => {
        const file = `${name}-${size}-${theme}-${lang === 'en' ? 'en' : 'zh'}`
        await page.screenshot({ path: `${out}/${file}.png` })
        await judge(page, file)
      }
      await page.goto(`${url}/login`)
      await page.locator('#user').waitFor()
      if (!only) await shoot('login')
      await login(page, url, process.env.WOLKE_USER ?? 'admin', password)
      const id = Object.fromEntries(await Promise.all(['servers', 'networks', 'tasks', 'hosts', 'users', 'images'].map(async (p) => [p, await first(page, p)])))
      const places = {
        overview: '/', servers: '/servers', server: `/servers/${id.servers}`, 'server-disks': `/servers/${id.servers}/disks`, 'server-monitor': `/servers/${id.servers}/monitor`, 'server-events': `/servers/${id.servers}/events`, create: '/servers/new',
        images: '/images', upload: '/images/upload', network: `/networks/${id.networks}/addresses`, hosts: '/hosts', host: `/hosts/${id.hosts}`, storages: '/storages', task: `/tasks/${id.tasks}`, tasks: '/tasks', events: '/events', access: '/access', users: '/users', policies: '/policies', quotas: '/quotas',
        profile: '/profile', licence: '/licence', branding: '/branding', keypairs: '/keypairs', bin: '/servers?bin=1',
      }
      for (const [name, path] of Object.entries(places)) {
        if ((only && !only.split(',').includes(name)) || path.includes('/undefined') || path.includes('//')) continue
        await page.goto(url + path)
        await ready(page)
        if (name === 'access') await page.locator('[data-ask]').click(), await page.locator('[data-answer]').waitFor()
        await page.waitForTimeout(350)
        await shoot(name)
      }
      if (!only || only.includes('palette')) {
        await page.goto(`${url}/servers`)
        await ready(page)
        await page.keyboard.press('Control+k')
        await page.keyboard.type('web')
        await page.waitForTimeout(900)
        await shoot('palette')
        await page.keyboard.press('Escape')
      }
      if (!only || only.includes('delete')) {
        await page.goto(`${url}/servers/${id.servers}`)
        await ready(page)
        const stop = page.locator('[data-action="stop"]').first()
        if ((await stop.count()) && !(await stop.getAttribute('aria-disabled'))) {
          await stop.click()
          await page.locator('[role="dialog"]').waitFor()
          await page.waitForTimeout(250)
          await shoot('stop')
        }
      }
      await context.close()
    }
await browser.close()
const seen = [...new Set(wrong)]
console.log(seen.join('\n') || 'nothing wrong')
process.exitCode = seen.length ? 1 : 0
