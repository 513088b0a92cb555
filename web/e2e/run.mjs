// Drives the console against a live platform, as a user would, and fails when something is not as a user would expect.
//   node e2e/run.mjs URL ADMIN-PASSWORD [DIRECTORY OF PICTURES]
// The platform asks for second factors (`wolke up --set apigateway.enable_totp=true`). Steps that need a guest (create, consoles, stop, resize,
// recycle bin) run when it has a host online; WOLKE_GUEST=1 insists on it. WOLKE_IMAGE names the disk to upload and boot (images/testvm).
// WOLKE_CLI is the platform's program: with it the command line changes something that a page shows.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { open, ready } from './browser.mjs'
import { habits, onlyLooks, reasons } from './habits.mjs'
import { watchShifts } from './shifts.mjs'

const [url, password, out = 'e2e/out'] = process.argv.slice(2)
if (!url || !password) throw new Error('node e2e/run.mjs URL ADMIN-PASSWORD [DIRECTORY]')
mkdirSync(out, { recursive: true })
/** A loaded machine is slow; a wait that is too long costs nothing when all is well. */
const PATIENCE = Number(process.env.WOLKE_PATIENCE ?? 120_000)
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
/** The administrator of the console; the platform's own, sysadmin, is for the command line. */
const USER = process.env.WOLKE_USER ?? 'admin'
/** The guest's own password, set by the user data of the wizard. */
const GUEST = 'guests-own-9'
const run = Date.now().toString(36)
const browser = await open()
const context = await browser.newContext({ viewport: { width: 1280, height: 720 }, locale: 'en-GB', ignoreHTTPSErrors: true })
context.setDefaultTimeout(PATIENCE)
await context.addInitScript(watchShifts)
const page = await context.newPage()
const complaints = []
const listen = (p) => {
  p.on('pageerror', (e) => complaints.push(`page: ${e.message}`))
  p.on('console', (m) => /Content.Security.Policy|Refused to/.test(m.text()) && complaints.push(m.text()))
}
listen(page)

const say = (condition, text) => {
  if (!condition) throw new Error(text)
}
let viewer
/** What somebody who may only look is shown. */
async function forbidden() {
  for (const path of ['/servers', '/images', '/disks', '/networks', '/keypairs']) {
    await go(path, viewer)
    if (path !== '/keypairs') say(!(await viewer.locator('[data-create]').count()), `a viewer is offered to create at ${path}`)
  }
}
let at = ''
async function step(name, work, p = page) {
  at = name
  const began = Date.now()
  const said = await work(p)
  await p.screenshot({ path: join(out, `${name.replace(/\W+/g, '-')}.png`) })
  console.log(`${said === 'left out' ? 'left out' : 'ok'}  ${name}  ${((Date.now() - began) / 1000).toFixed(1)} s`)
}
const go = async (path, p = page) => (await p.goto(url + path), ready(p))
/** The gateway asked as the page would ask it. */
const api = (method, path, body, p = page) =>
  p.evaluate(
    async ([m, to, b]) => {
      const answer = await fetch(`/api/v1/${to}`, { method: m, headers: { 'content-type': 'application/json' }, body: b ? JSON.stringify(b) : undefined })
      const text = await answer.text()
      return { status: answer.status, data: text ? JSON.parse(text) : null }
    },
    [method, path, body],
  )
const enter = async (p, user, secret) => {
  await p.locator('#user').fill(user)
  await p.locator('#password').fill(secret)
  await p.locator('button[type=submit]').click()
}
const confirm = (p = page) => p.locator('[role=dialog] [data-confirm]').click()
const pickAction = async (key, p = page) => {
  // The page is there before its row is.
  await p.locator('.head [data-action], .head button[aria-haspopup=menu]').first().waitFor()
  const direct = p.locator(`.head [data-action="${key}"]`)
  if (await direct.count()) return direct.click()
  await p.locator('.head button[aria-haspopup=menu]').click()
  await p.locator(`[role=menuitem][data-action="${key}"]`).click()
}
/** Opens a page in Chinese, does something there, and answers what came of it with the text of a part of the page. */
async function inChinese(path, work, part) {
  const other = await browser.newContext({ viewport: { width: 1280, height: 720 }, locale: 'zh-CN', ignoreHTTPSErrors: true, storageState: await context.storageState() })
  other.setDefaultTimeout(PATIENCE)
  await other.addInitScript(() => localStorage.setItem('wolke.prefs', JSON.stringify({ lang: 'zh-CN' })))
  const p = await other.newPage()
  listen(p)
  await go(path, p)
  const told = await work(p)
  const text = (await p.locator(part).allInnerTexts()).join('\n')
  await other.close()
  return { told, text }
}
/** Words of a text that are neither names, paths nor units. */
const english = (text, names) => {
  let left = text
  for (const name of [...new Set(names)].filter(Boolean).sort((a, b) => b.length - a.length)) left = left.replaceAll(name, ' ')
  return (left.match(/[A-Za-z]{3,}/g) ?? []).filter((w) => !/^(MiB|GiB|TiB|vCPU)$/.test(w))
}
const status = (word, p = page) => p.locator(`.head [data-status="${word}"]`).waitFor()

/** The code of the second factor that an authenticator would show (RFC 6238, SHA-1, 30 s, six digits). */
function totp(secret, now = Date.now()) {
  const bits = [...secret.replace(/=+$/, '')].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('')
  const key = Buffer.from(bits.match(/.{8}/g).map((b) => parseInt(b, 2)))
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(Math.floor(now / 30_000)))
  const mac = createHmac('sha1', key).update(counter).digest()
  return String((mac.readUInt32BE(mac[19] & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0')
}

/** Pixels that a few letters change; a blinking cursor is a fifth of that. */
const PICTURE = 120
/** Keeps the picture of the guest's screen, once there is something on it. */
const remember = () =>
  page.waitForFunction(() => {
    const c = document.querySelector('.screen canvas')
    if (!c?.width) return false
    window.seen = c.getContext('2d').getImageData(0, 0, c.width, c.height)
    return new Uint32Array(window.seen.data.buffer).some((p, _, all) => p !== all[0])
  })
/** Waits until so many pixels are not what they were, or the guest has chosen another resolution. */
const changed = (pixels) =>
  page.waitForFunction((n) => {
    const c = document.querySelector('.screen canvas')
    if (c.width !== window.seen.width || c.height !== window.seen.height) return true
    const [now, old] = [new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer), new Uint32Array(window.seen.data.buffer)]
    return now.reduce((sum, p, i) => sum + (p === old[i] ? 0 : 1), 0) >= n
  }, pixels, { polling: 300 })
/** Waits until the terminal shows a text. */
const hear = (text) => page.waitForFunction((t) => document.querySelector('.xterm-rows')?.textContent.replace(/\u00a0/g, ' ').includes(t), text, { polling: 200 })

async function all() {
  await step('a wrong password is refused in words', async () => {
    await page.goto(`${url}/login`)
    await enter(page, USER, 'not the password')
    await page.locator('[role=alert]').waitFor()
  })
  await step('log in', async () => {
    await enter(page, USER, password)
    await page.locator('.shell').waitFor()
    await ready(page)
    const kept = await context.cookies()
    say(!kept.some((c) => /token|session/i.test(c.name) && !c.httpOnly), 'a cookie that scripts can read holds the session')
  })
  await step('every page opens without an error', async () => {
    const links = await page.locator('.side nav a').evaluateAll((all) => all.map((a) => a.getAttribute('href')))
    say(links.length > 15, 'the menu is short')
    for (const path of links) {
      await page.locator(`.side nav a[href="${path}"]`).click()
      await page.waitForURL(url + path)
      await page.locator('.main h1').waitFor()
      await page.waitForFunction(() => !document.querySelector('.ghost-bar'))
      const error = page.locator('.main .note.bad[role=alert]')
      if (await error.count()) throw new Error(`${path}: ${await error.first().innerText()}`)
      await reasons(page, path, say)
    }
  })
  await step('nothing of the main pages breaks the rules of accessibility', async () => {
    for (const path of ['/', '/servers', '/servers/new']) {
      await go(path)
      await page.evaluate(axe)
      const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }))
      say(!violations.length, `${path}: ${violations.map((v) => `${v.id} ${v.nodes[0].target}`).join('; ')}`)
    }
  })
  await step('Chinese and back', async () => {
    await go('/servers')
    for (const [choice, word] of [['lang:zh-CN', '主机'], ['lang:en', 'Servers']]) {
      await page.locator('.top button[aria-haspopup=menu]').last().click()
      await page.locator(`[role=menuitem][data-action="${choice}"]`).click()
      await page.locator('h1', { hasText: word }).waitFor()
    }
  })
  await step('the palette finds a page by keyboard', async () => {
    await page.keyboard.press('Control+k')
    await page.locator('.palette input').fill('Key pairs')
    await page.locator('.palette [role=option]').first().waitFor()
    await page.keyboard.press('Enter')
    await page.waitForURL(/\/keypairs/)
  })
  await step('create a key pair from its form', async () => {
    await go('/keypairs?new=1')
    await page.locator('[role=dialog] input[name=name]').fill(`key-${run}`)
    await confirm()
    await page.waitForURL(/\/keypairs\/.+/)
    await page.locator('h1', { hasText: `key-${run}` }).waitFor()
  })
  await step('a hostile name is text', async () => {
    const text = `<img src=x onerror="window.hit=1">${run}`
    const made = await api('POST', 'projects', { name: `p-${run}`, description: text })
    say(made.status < 300, `the project was not made: ${JSON.stringify(made.data)}`)
    await go('/projects')
    await page.locator('.search input').fill(`p-${run}`)
    await page.locator(`[data-id="${made.data.id}"]`).waitFor()
    await go(`/projects/${made.data.id}`)
    await page.locator('.main .tabs').waitFor()
    await page.locator('.head .about', { hasText: text }).waitFor()
    say(!(await page.evaluate(() => window.hit)), 'a description was run')
  })
  await step('somebody else changes a row and the page shows it', async () => {
    const row = (await api('GET', `projects?search=p-${run}&scope=system`)).data.data[0]
    await go(`/projects?search=p-${run}`)
    const live = (await page.locator('[data-link]').getAttribute('data-link')) === 'live'
    const began = Date.now()
    await api('PUT', `projects/${row.id}`, { displayname: `seen ${run}` })
    await page.locator('.row', { hasText: `seen ${run}` }).waitFor()
    console.log(`    ${live ? 'live' : 'polling'}, after ${Date.now() - began} ms`)
  })
  await habits({ browser, context, page, url, run, go, step, say, api, confirm, pickAction, listen, patience: PATIENCE })
  await step('a change made by the command line', async () => {
    if (!process.env.WOLKE_CLI) return 'left out'
    await go(`/projects?search=p-${run}`)
    await page.locator('[data-link=live]').waitFor()
    await new Promise((done, failed) => {
      const child = spawn(process.env.WOLKE_CLI, ['project', 'update', `p-${run}`, '--displayname', `by hand ${run}`], { stdio: ['ignore', 'ignore', 'inherit'] })
      child.on('error', failed).on('exit', (code) => (code ? failed(new Error(`the command line ended with ${code}`)) : done()))
    })
    const began = Date.now()
    await page.locator('.row', { hasText: `by hand ${run}` }).waitFor()
    console.log(`    seen ${Date.now() - began} ms after the command had ended`)
  })
  await step('the explainer says why', async () => {
    await go('/access')
    await page.locator('[data-ask]').click()
    await page.locator('[data-answer].ok').waitFor()
  })
  await step('in Chinese the explainer has no English', async () => {
    const answer = await inChinese('/access', async (p) => {
      const [told] = await Promise.all([p.waitForResponse((r) => /rpc\/access\/can/.test(r.url())), p.locator('[data-ask]').click()])
      await p.locator('[data-answer]').waitFor()
      return told.json()
    }, '[data-answer], [data-answer] ~ section')
    say(answer.told.reasons.length > 0, 'there is nothing to explain')
    const names = [answer.told.user.name, answer.told.project.name, answer.told.permission, ...answer.told.reasons.flatMap((r) => [r.policy, r.role, r.rule.split(': ')[0]])]
    const left = english(answer.text, names)
    say(!left.length, `English in the explainer: ${left}`)
  })
  await step('a viewer logs in, changes the password he was given, and sees no forbidden button', async () => {
    const given = `Given-${run}-Pass!1`
    const user = await api('POST', 'users', { name: `viewer-${run}`, password: given, allow_web_console: true, skip_password_complexity_check: true })
    say(user.status < 300, `the user was not made: ${JSON.stringify(user.data)}`)
    const project = (await api('GET', `projects?search=p-${run}&scope=system`)).data.data[0]
    const role = (await api('GET', 'roles?search=project_viewer&scope=system')).data.data[0]
    const joined = await api('POST', `projects/${project.id}/join`, { users: [user.data.id], roles: [role.id] })
    say(joined.status < 300, `the user did not join: ${JSON.stringify(joined.data)}`)
    const other = await browser.newContext({ viewport: { width: 1280, height: 720 }, locale: 'en-GB', ignoreHTTPSErrors: true })
    other.setDefaultTimeout(PATIENCE)
    const his = await other.newPage()
    listen(his)
    await his.goto(`${url}/login`)
    await enter(his, `viewer-${run}`, given)
    await his.locator('#fresh').waitFor()
    await his.screenshot({ path: join(out, 'another-password.png') })
    await his.locator('#fresh').fill(`Own-${run}-Pass!2`)
    await his.locator('#again').fill(`Own-${run}-Pass!2`)
    await his.locator('button[type=submit]').click()
    await his.locator('.shell').waitFor()
    viewer = his
    await forbidden()
    await his.screenshot({ path: join(out, 'a-viewer.png') })
  })
  await step('the second factor is set up and asked for', async () => {
    say((await api('GET', 'auth/user')).data.data.system_totp_on, 'the platform asks for no second factor; start it with --set apigateway.enable_totp=true')
    const secret = `Second-${run}-Pass!1`
    const user = await api('POST', 'users', { name: `factor-${run}`, password: secret, allow_web_console: true, enable_mfa: true })
    say(user.status < 300, 'the user was not made')
    const project = (await api('GET', `projects?search=p-${run}&scope=system`)).data.data[0]
    const role = (await api('GET', 'roles?search=project_viewer&scope=system')).data.data[0]
    await api('POST', `projects/${project.id}/join`, { users: [user.data.id], roles: [role.id] })
    const other = await browser.newContext({ ignoreHTTPSErrors: true, locale: 'en-GB' })
    other.setDefaultTimeout(PATIENCE)
    const his = await other.newPage()
    listen(his)
    const into = async () => {
      await his.goto(`${url}/login`)
      await enter(his, `factor-${run}`, secret)
    }
    await into()
    for (const i of [0, 1, 2]) await his.locator(`#q${i}`).fill(`answer ${i}`)
    await his.locator('button[type=submit]').click()
    await his.waitForFunction(() => document.querySelector('canvas')?.width > 100)
    await his.screenshot({ path: join(out, 'second-factor.png') })
    await his.locator('#code').fill('000000')
    await his.locator('button[type=submit]').click()
    await his.locator('[role=alert]').waitFor()
    await his.locator('#code').fill(totp(await his.locator('[data-secret] code').innerText()))
    await his.locator('button[type=submit]').click()
    await his.locator('[data-recovery]').first().waitFor()
    const codes = await his.locator('[data-recovery]').allInnerTexts()
    say(codes.length > 5, 'there are few recovery codes')
    await his.screenshot({ path: join(out, 'recovery-codes.png') })
    await his.locator('button[type=submit]').click()
    await his.locator('.shell').waitFor()
    // Later: a code of paper instead of the device, and the answers when both are lost.
    await other.clearCookies()
    await into()
    await his.locator('#code').fill(codes[0])
    await his.locator('button[type=submit]').click()
    await his.locator('.shell').waitFor()
    await other.clearCookies()
    await into()
    await his.locator('[data-lost]').click()
    for (const i of [0, 1, 2]) await his.locator(`#q${i}`).fill(`Answer ${i}`)
    await his.locator('button[type=submit]').click()
    await his.locator('[data-secret]').waitFor()
    await other.close()
  })
  await step('a second factor from the profile, a password changed with it, and taken away again', async () => {
    const [first, second] = [`Selfmade-${run}-Pass!1`, `Selfmade-${run}-Pass!2`]
    const user = await api('POST', 'users', { name: `self-${run}`, password: first, allow_web_console: true, skip_password_complexity_check: true })
    say(user.status < 300, `the user was not made: ${JSON.stringify(user.data)}`)
    const project = (await api('GET', `projects?search=p-${run}&scope=system`)).data.data[0]
    const role = (await api('GET', 'roles?search=project_viewer&scope=system')).data.data[0]
    await api('POST', `projects/${project.id}/join`, { users: [user.data.id], roles: [role.id] })
    const other = await browser.newContext({ ignoreHTTPSErrors: true, locale: 'en-GB' })
    other.setDefaultTimeout(PATIENCE)
    const his = await other.newPage()
    listen(his)
    await his.goto(`${url}/login`)
    await enter(his, `self-${run}`, first)
    // A password that somebody else gave is changed first.
    await his.locator('#fresh, .shell').first().waitFor()
    if (await his.locator('#fresh').count()) {
      await his.locator('#fresh').fill(second)
      await his.locator('#again').fill(second)
      await his.locator('button[type=submit]').click()
      await his.locator('.shell').waitFor()
    }
    const own = second
    await go('/profile', his)
    await his.locator('[data-begin]').click()
    await his.locator('#factor-password').fill('not the password')
    await his.locator('[data-factor] button[type=submit]').click()
    await his.locator('[data-factor] [role=alert]').waitFor()
    await his.locator('#factor-password').fill(own)
    await his.locator('[data-factor] button[type=submit]').click()
    await his.waitForFunction(() => document.querySelector('[data-factor] canvas')?.width > 100)
    await his.screenshot({ path: join(out, 'a-factor-from-the-profile.png') })
    await his.locator('#factor-code').fill(totp(await his.locator('[data-secret] code').innerText()))
    await his.locator('[data-factor] button[type=submit]').click()
    await his.locator('[data-recovery]').first().waitFor()
    const codes = await his.locator('[data-recovery]').allInnerTexts()
    await his.locator('[data-factor] button[type=submit]').click()
    await his.locator('[data-factor][data-enabled=true]').waitFor()
    // Another password: the code is asked for as well, and a wrong one is refused.
    const third = `Selfmade-${run}-Pass!3`
    const change = async (code) => {
      for (const [id, text] of [['password_old', own], ['password_new', third], ['password_confirm', third], ['passcode', code]]) await his.locator(`#${id}`).fill(text)
      await his.locator('form', { has: his.locator('#password_old') }).locator('button[type=submit]').click()
    }
    await change('000000')
    await his.locator('form .note.bad[role=alert]').waitFor()
    await change(codes[0])
    await his.waitForURL(/\/login/)
    await enter(his, `self-${run}`, third)
    await his.locator('#code').fill(codes[1])
    await his.locator('button[type=submit]').click()
    await his.locator('.shell').waitFor()
    await go('/profile', his)
    await his.locator('[data-renew]').click()
    await his.locator('#factor-code').fill(codes[2])
    await his.locator('[data-factor] button[type=submit]').click()
    await his.locator('[data-recovery]').first().waitFor()
    const fresh = await his.locator('[data-recovery]').allInnerTexts()
    say(!fresh.some((c) => codes.includes(c)), 'the new recovery codes are the old ones')
    await his.locator('[data-factor] button[type=submit]').click()
    await his.locator('[data-remove]').click()
    await his.locator('#factor-code').fill(codes[3])
    await his.locator('[data-factor] button[type=submit]').click()
    await his.locator('[data-factor] [role=alert]').waitFor()
    await his.locator('#factor-code').fill(fresh[0])
    await his.locator('[data-factor] button[type=submit]').click()
    await his.locator('[data-factor][data-enabled=false]').waitFor()
    await other.clearCookies()
    await his.goto(`${url}/login`)
    await enter(his, `self-${run}`, third)
    await his.locator('.shell').waitFor()
    await other.close()
  })
  await step('another project, and back', async () => {
    const project = async (name) => {
      await page.locator('.top button[aria-haspopup=menu]').first().click()
      await page.locator('[role=menuitem]', { hasText: new RegExp(`^${name}$`) }).click()
      await page.locator('.top .project', { hasText: name }).waitFor()
    }
    const view = async (scope) => {
      await page.locator('.top button[aria-haspopup=menu]').first().click()
      await page.locator(`[role=menuitem][data-action="scope:${scope}"]`).click()
      await page.waitForFunction((s) => document.cookie.includes(`scope=${s}`), scope)
    }
    // The administrator joins the new project, and sees there what is in it: nothing.
    const me = (await api('GET', 'auth/user')).data.data
    const there = (await api('GET', `projects?search=p-${run}&scope=system`)).data.data[0]
    const role = (await api('GET', 'roles?search=project_owner&scope=system')).data.data[0]
    const joined = await api('POST', `projects/${there.id}/join`, { users: [me.id], roles: [role.id] })
    say(joined.status < 300, `the administrator did not join: ${JSON.stringify(joined.data)}`)
    await go('/images')
    await Promise.all([page.waitForResponse((r) => /\/v1\/images\?/.test(r.url())), project(`p-${run}`)])
    say((await api('GET', 'auth/user')).data.data.projectId === there.id, 'the session is of another project')
    await go('/servers')
    await page.locator('[data-create]').waitFor()
    await project(me.projectName)
    await view('system')
    await go('/')
  })

  const online = (await api('GET', 'hosts?host_status=online&enabled=true&limit=1&scope=system')).data.total > 0
  if (!online && process.env.WOLKE_GUEST) throw new Error('no host is online')
  const file = process.env.WOLKE_IMAGE ?? join(out, 'blank.img')
  if (!process.env.WOLKE_IMAGE) writeFileSync(file, Buffer.concat([Buffer.from('MBR\n'), Buffer.alloc(12 << 20)]))
  await step('upload an image over a line that breaks and a page that is loaded anew, and watch it become ready', async () => {
    await go('/images/upload')
    await page.locator('input[type=file]').setInputFiles(file)
    await page.locator('#u-name').fill(`image-${run}`)
    if (!process.env.WOLKE_IMAGE) await page.locator('#u-format').selectOption('raw')
    // The line breaks once on the way, and then the page is loaded anew in the middle of the file.
    let pieces = 0
    let away
    const gone = new Promise((on) => (away = on))
    await page.route('**/imageutils/uploads/*', (r) => {
      if (r.request().method() !== 'PUT') return r.continue()
      pieces++
      return pieces === 1 ? r.abort('connectionreset') : pieces === 3 ? away() : r.continue()
    })
    await page.locator('form button[type=submit]').click()
    await gone
    page.once('dialog', (d) => d.accept())
    await page.reload()
    await page.unroute('**/imageutils/uploads/*')
    await page.locator('[data-left]').waitFor()
    await page.locator('input[type=file]').setInputFiles(file)
    await page.locator('[data-goes-on]').waitFor()
    say((await page.locator('[data-goes-on]').innerText()).includes('8 MiB'), 'the transfer does not know what has come')
    const rest = page.waitForRequest((r) => r.method() === 'PUT' && r.url().endsWith('offset=8388608'))
    await page.locator('form button[type=submit]').click()
    await rest
    await page.waitForURL(/\/images\/[^u]/)
    await status('active')
  })
  await step('a viewer sees an image and no action on it', async () => {
    const { id } = (await api('GET', `images?search=image-${run}`)).data.data[0]
    await api('POST', `images/${id}/public`, { scope: 'system' })
    await onlyLooks({ viewer, go, say, api }, 'images', id)
    await api('POST', `images/${id}/private`, {})
  })
  if (!online) return console.log('left out  what needs a host: none is online')

  await step('the wizard explains a server nobody can take', async () => {
    await go('/servers/new')
    await page.locator('[data-custom]').click()
    await page.locator('#w-cpu').fill('128')
    await page.locator('#w-memory').fill('512 TiB')
    await page.locator('[data-forecast] .note.bad').waitFor()
    say((await page.locator('[data-send]').count()) === 0 || (await page.locator('aside button[type=submit]').getAttribute('aria-disabled')) === 'true', 'the button can be pressed')
  })
  await step('in Chinese the reasons of the placement have no English', async () => {
    const answer = await inChinese('/servers/new', async (p) => {
      await p.locator('[data-custom]').click()
      await p.locator('#w-cpu').fill('128')
      await p.locator('#w-memory').fill('512 TiB')
      await p.locator('[data-forecast] .note.bad').waitFor()
      await p.locator('[data-forecast] details summary').click()
      return (await p.evaluate(async () => (await (await fetch('/api/v1/hosts?scope=system&limit=50')).json()).data)).map((h) => h.name)
    }, '[data-forecast]')
    const left = english(answer.text, answer.told)
    say(answer.text.includes('需要') && !left.length, `English in the placement: ${left}`)
  })
  await step('create a server through the wizard and watch its plan', async () => {
    const image = (await api('GET', `images?search=image-${run}`)).data.data[0].id
    await go(`/servers/new?image=${image}`)
    await page.locator('#w-name').fill(`web-${run}`)
    await page.locator('[data-custom]').click()
    await page.locator('#w-memory').fill('256 MiB')
    // What the platform would make larger is said before, not done silently.
    await page.locator('[data-least]').waitFor()
    await page.locator('#w-root').fill('1 GiB')
    await page.locator('#w-root ~ .wrong').waitFor()
    await page.locator('#w-root').fill('10 GiB')
    await page.locator('[data-least]').waitFor()
    say(await page.locator('input[name=disable_delete]').isChecked(), 'a new server is not protected unless one says so')
    await page.locator('input[name=disable_delete]').uncheck()
    await page.locator('details summary', { hasText: 'More' }).click()
    await page.locator('#w-data').fill(`#cloud-config\npassword: ${GUEST}\n`)
    await page.locator('[data-forecast] .note.ok').waitFor()
    await page.locator('aside button[type=submit]').click()
    await page.waitForURL(/\/servers\/[\w-]+\/tasks/)
    await page.locator('.row a').first().click()
    await page.locator('.steps [data-step=done]').first().waitFor()
    await page.locator('.head [data-status="complete"]').waitFor()
  })
  const server = (await api('GET', `servers?search=web-${run}`)).data.data[0].id
  await step('the server runs', async () => (await go(`/servers/${server}`), status('running')))
  await step('a deletion of what runs says why not', async () => {
    await reasons(page, 'a server that runs', say)
    await page.locator('.head button[aria-haspopup=menu]').click()
    await page.locator('[role=menu]').waitFor()
    await reasons(page, 'its menu', say)
    say((await page.locator('[role=menuitem][data-action="delete"] .why').innerText()).length > 5, 'no reason is given')
    await page.keyboard.press('Escape')
  })
  const show = async (kind) => {
    await page.locator(`[data-console=${kind}]`).click()
    await page.locator(`[data-console=${kind}][aria-checked=true]`).waitFor()
    await page.locator('[data-console-state=open], [data-console-state=closed], .note.bad[role=alert]').first().waitFor()
    say(await page.locator('[data-console-state=open]').count(), `the ${kind} console did not open`)
  }
  await step('the serial line of the server', async () => {
    await go(`/servers/${server}/console`)
    await show('serial')
    await hear('login:')
    await page.locator('.xterm-helper-textarea').focus()
    await page.keyboard.type('root\n')
    await hear('assword:')
    await page.keyboard.type(`${GUEST}\n`)
    await hear('#')
    await page.keyboard.type('clear; echo "the answer is $((6 * 7))"\n')
    await hear('the answer is 42')
    // From now on there is something to see on the screen.
    await page.keyboard.type('while sleep 1; do echo "another line: $((n += 1))"; done > /dev/tty1 & echo "there are $((5 + 6))"\n')
    await hear('there are 11')
  })
  await step('the screen of the server', async () => {
    await show('vnc')
    await page.locator('.screen canvas').waitFor()
    await remember()
    await changed(PICTURE)
  })
  await step('the console is left and taken up again, filled from the clipboard, and fills the screen', async () => {
    await show('serial')
    await page.locator('[data-tool=again]').click()
    await page.locator('[data-console-state=open]').waitFor()
    await page.evaluate(() => navigator.clipboard.writeText('kill $!; wait; echo "pasted $((40 + 3))"\n'))
    await page.locator('[data-tool=paste]').click()
    await hear('pasted 43')
    await page.locator('[data-tool=full]').click()
    await page.waitForFunction(() => document.fullscreenElement?.matches('.screen'))
    await page.evaluate(() => document.exitFullscreen())
  })
  await step('typed on the screen', async () => {
    await show('vnc')
    await page.locator('.screen canvas').click()
    await remember()
    await page.keyboard.type('root\n')
    await changed(PICTURE)
    const notes = (await api('GET', `events?obj_id=${server}&action=console&scope=system&limit=20`)).data.data.map((e) => e.notes)
    say(['vnc opened', 'serial opened'].every((n) => notes.includes(n)), `the audit log does not tell of the consoles: ${notes}`)
  })
  await step('Ctrl-Alt-Del is heard', async () => {
    await page.locator('[data-console-state=open]').waitFor()
    await remember()
    await page.locator('[data-tool=cad]').click()
    await changed(PICTURE)
  })
  await step('stop it', async () => {
    await go(`/servers/${server}`)
    await pickAction('stop')
    await page.locator('[role=dialog] input[name=is_force]').check()
    await confirm()
    await status('ready')
  })
  await step('resize it', async () => {
    await pickAction('change-config')
    await page.locator('[role=dialog] input[name=vmem_size]').fill('512 MiB')
    await confirm()
    await page.locator('.facts dd', { hasText: '512 MiB' }).waitFor()
  })
  await step('delete it, after reading what goes with it', async () => {
    await pickAction('delete')
    await page.locator('[role=dialog] .note.warn').waitFor()
    // Those that end: a sign of something busy turns for ever.
    await page.evaluate(async () => void (await Promise.allSettled(document.getAnimations().filter((a) => a.effect?.getComputedTiming().endTime !== Infinity).map((a) => a.finished))))
    await page.screenshot({ path: join(out, 'blast-radius.png') })
  })
  await step('take the deletion back while it is offered', async () => {
    await confirm()
    // At once: it is taken back when it has come to the bin.
    await page.locator('.toast button.btn.small', { hasText: 'Undo' }).click()
    await page.locator('.toast', { hasText: 'back' }).waitFor()
    // The row on the page may be one from before the bin.
    await go(`/servers/${server}`)
    await status('ready')
    await page.locator('.head [data-action="start"]').waitFor()
    await pickAction('delete')
    await confirm()
    await page.locator('.head [data-action="cancel-delete"]').waitFor()
  })
  await step('bring it back from the recycle bin', async () => {
    await go('/servers?bin=1')
    await page.locator(`[data-id="${server}"] input[type=checkbox]`).check()
    await page.locator('[data-bulk="cancel-delete"]').click()
    // A page that is left at once takes a request on its way with it.
    await page.locator(`[data-id="${server}"]`).waitFor({ state: 'detached' })
    await go(`/servers?search=web-${run}`)
    await page.locator(`[data-id="${server}"]`).waitFor()
  })
  await step('delete it for ever', async () => {
    await go(`/servers/${server}`)
    await status('ready')
    await pickAction('delete')
    await confirm()
    await page.locator('.head [data-action="cancel-delete"]').waitFor()
    await pickAction('destroy')
    await confirm()
    await page.waitForURL(/\/servers$/)
  })
}

try {
  await all()
  at = 'afterwards'
  say(!complaints.length, complaints.join('\n'))
  console.log('the console works')
} catch (error) {
  await page.screenshot({ path: join(out, 'failed.png') }).catch(() => undefined)
  console.error(`FAILED  ${at}\n${error.message}\n${complaints.join('\n')}`)
  process.exitCode = 1
} finally {
  await browser.close()
}
