// The browser both scripts drive: Debian's, without a window, without anything it would say to the outside.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']

export async function open() {
  const home = mkdtempSync(join(tmpdir(), 'wolke-console-'))
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS, ignoreDefaultArgs: ['--hide-scrollbars'], env: { ...process.env, HOME: home } })
  browser.on('disconnected', () => rmSync(home, { recursive: true, force: true }))
  return browser
}

/** Everything of the page has come: no list waits for its first rows. */
export async function ready(page) {
  await page.locator('#app > *').first().waitFor()
  await page.waitForLoadState('load')
  await page.waitForFunction(() => !document.querySelector('.ghost-bar') && !!document.querySelector('.main h1, .card h1'))
}

export async function login(page, url, user, password) {
  if (!page.url().includes('/login')) await page.goto(`${url}/login`)
  await page.locator('#user').fill(user)
  await page.locator('#password').fill(password)
  await page.locator('button[type=submit]').click()
  await page.locator('.shell').waitFor()
}
