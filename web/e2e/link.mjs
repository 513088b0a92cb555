// Links a user with an identity provider from his profile, comes in that way, and takes the link away again.
//   node e2e/link.mjs URL USER PASSWORD PROVIDER PERSON
// PROVIDER is the provider's id, PERSON who logs in on its page. Run by the test `platform_gateway_sso`.
import { open, ready } from './browser.mjs'

const [url, user, given, provider, person] = process.argv.slice(2)
if (!person) throw new Error('node e2e/link.mjs URL USER PASSWORD PROVIDER PERSON')
const browser = await open()
const context = await browser.newContext({ viewport: { width: 1280, height: 720 }, locale: 'en-GB' })
context.setDefaultTimeout(Number(process.env.WOLKE_PATIENCE ?? 120_000))
const page = await context.newPage()
const say = (condition, text) => {
  if (!condition) throw new Error(text)
}
let password = given
async function enter() {
  await page.goto(`${url}/login`)
  await page.locator('#user').fill(user)
  await page.locator('#password').fill(password)
  await page.locator('button[type=submit]').click()
  await page.locator('#fresh, .shell').first().waitFor()
  if (!(await page.locator('#fresh').count())) return
  // A password that somebody else gave is changed first.
  password = `${given}-own`
  for (const id of ['#fresh', '#again']) await page.locator(id).fill(password)
  await page.locator('button[type=submit]').click()
  await page.locator('.shell').waitFor()
}
/** On the provider's page, if it asks. */
async function there() {
  await page.locator('.shell, input[name=login]').first().waitFor()
  if (!(await page.locator('input[name=login]').count())) return
  await page.locator('input[name=login]').fill(person)
  await page.locator('input[name=password]').fill('anything')
  await page.locator('button[type=submit]').click()
}
const name = () => page.evaluate(async () => (await (await fetch('/api/v1/auth/user')).json()).data.name)

try {
  await enter()
  await page.goto(`${url}/profile`)
  await ready(page)
  await page.locator(`[data-links] a[data-link="${provider}"]`).click()
  await page.locator('input[name=login]').waitFor()
  await there()
  await page.waitForURL((at) => at.href.startsWith(`${url}/profile`))
  const link = page.locator(`[data-link-to="${provider}"]`)
  await link.waitFor()
  await page.locator('.toast.ok').first().waitFor()
  say((await link.innerText()).includes(person), `the profile does not say as whom one is known there: ${await link.innerText()}`)
  say(!page.url().includes('result='), `what became of it stays in the address: ${page.url()}`)
  // A way in from now on.
  await context.clearCookies({ name: /^(__Host-)?wolke_session$|^yunionauth$/ })
  await page.goto(`${url}/login`)
  await page.locator(`a[href="/api/v1/auth/sso/redirect/${provider}"]`).click()
  await there()
  await page.locator('.shell').waitFor()
  say((await name()) === user, `that way comes in ${await name()}`)
  // Taken away: every session of the user ends with it, and it is asked for first.
  await page.goto(`${url}/profile`)
  await link.locator('button').click()
  await page.locator('[role=dialog] [data-confirm]').click()
  await page.waitForURL(/\/login/)
  await enter()
  await page.goto(`${url}/profile`)
  await page.locator(`[data-links] a[data-link="${provider}"]`).waitFor()
  say(!(await link.count()), 'the link is still there')
} catch (error) {
  console.error(`${page.url()}: ${error.message}\n${await page.locator('body').innerText().catch(() => '')}`)
  process.exitCode = 1
} finally {
  await browser.close()
}
