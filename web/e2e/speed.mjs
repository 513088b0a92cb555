// How quick the console is before a platform with very many servers. Prints one line of JSON for each figure: what, measured, goal, unit.
//   node e2e/speed.mjs URL ADMIN-PASSWORD
// `benches --only console` fills a platform and runs this.
import { login, open, ready } from './browser.mjs'

const [url, password] = process.argv.slice(2)
if (!url || !password) throw new Error('node e2e/speed.mjs URL ADMIN-PASSWORD')
const USER = process.env.WOLKE_USER ?? 'admin'
const ROUNDS = 5
const VIEW = { viewport: { width: 1280, height: 720 }, ignoreHTTPSErrors: true, locale: 'en-GB' }
const browser = await open()
const tell = (what, measured, goal, unit) => console.log(JSON.stringify({ what, measured: Math.round(measured), goal, unit }))
const median = (all) => all.sort((a, b) => a - b)[all.length >> 1]

/** A page of a browser that has nothing in its cache, with a slower processor; `logged` brings its session. */
async function fresh(throttle, state) {
  const context = await browser.newContext({ ...VIEW, storageState: state })
  context.setDefaultTimeout(120_000)
  const page = await context.newPage()
  const wire = await context.newCDPSession(page)
  await wire.send('Network.enable')
  await wire.send('Emulation.setCPUThrottlingRate', { rate: throttle })
  const scripts = new Set()
  let bytes = 0
  wire.on('Network.responseReceived', (e) => e.type === 'Script' && scripts.add(e.requestId))
  wire.on('Network.loadingFinished', (e) => scripts.has(e.requestId) && (bytes += e.encodedDataLength))
  await page.addInitScript(() => {
    window.largest = 0
    new PerformanceObserver((list) => list.getEntries().forEach((e) => (window.largest = e.startTime))).observe({ type: 'largest-contentful-paint', buffered: true })
  })
  return { context, page, bytes: () => bytes, largest: () => page.evaluate(() => window.largest) }
}

const first = await fresh(1)
await login(first.page, url, USER, password)
await ready(first.page)
tell('scripts of a first load, log-in to overview, compressed', first.bytes() / 1024, 300, 'KiB')
const state = await first.context.storageState()
await first.context.close()

for (const [name, path, who] of [['log-in page', '/login', undefined], ['overview', '/', state], ['list of servers', '/servers', state]]) {
  const times = []
  for (let n = 0; n < ROUNDS; n++) {
    const { context, page, largest } = await fresh(4, who)
    await page.goto(url + path)
    if (who) await ready(page)
    else await page.locator('#user').waitFor()
    await page.waitForTimeout(500)
    times.push(await largest())
    await context.close()
  }
  tell(`largest paint of the ${name}, empty cache, processor slowed four times, median of ${ROUNDS}`, median(times), 1500, 'ms')
}

const { context, page } = await fresh(1, state)
await page.goto(`${url}/servers`)
await ready(page)
tell('servers in the list', Number((await page.locator('[data-total]').innerText()).replace(/\D/g, '')), 100_000, '')
/** Does something and answers the longest time between two frames meanwhile. */
async function frames(work) {
  await page.evaluate(() => {
    window.longest = 0
    window.watching = true
    let last = performance.now()
    const next = (now) => {
      window.longest = Math.max(window.longest, now - last)
      last = now
      if (window.watching) requestAnimationFrame(next)
    }
    requestAnimationFrame(next)
  })
  await work()
  return page.evaluate(() => ((window.watching = false), window.longest))
}
const settled = () => page.waitForFunction(() => !document.querySelector('.main .row .ghost-bar') && document.querySelectorAll('.main .row').length > 5)
const table = page.locator('.scroll, [role=rowgroup]').first()
await table.hover()
tell('longest frame while scrolling by the wheel', await frames(async () => {
  for (let n = 0; n < 60; n++) {
    await page.mouse.wheel(0, 400)
    await page.waitForTimeout(30)
  }
  await settled()
}), 100, 'ms')
tell('longest frame while jumping through the whole list', await frames(async () => {
  for (const part of [0.25, 0.9, 0.5, 1, 0]) {
    await page.evaluate((p) => {
      const box = [...document.querySelectorAll('.main *')].find((e) => e.scrollHeight > 100_000 && e.clientHeight < 2000)
      box.scrollTop = p * (box.scrollHeight - box.clientHeight)
    }, part)
    await page.waitForTimeout(120)
    await settled()
  }
}), 100, 'ms')
tell('longest frame while filtering', await frames(async () => {
  for (const text of ['web-1', 'web-123', 'web-12345']) {
    await page.locator('.search input').fill(text)
    await page.waitForTimeout(400)
  }
  await page.waitForFunction(() => document.querySelector('[data-total]')?.textContent.trim() === '1')
}), 100, 'ms')
await context.close()
await browser.close()
