// What people expect of any page, tried in a browser: the keyboard alone, views that are kept, many rows at once, errors one can act on, reasons,
// changes one can look back at, a platform under its operator's name, pages that stand still. Steps of `run.mjs`; none needs a host.
import { settled } from './shifts.mjs'

/** What a page may move at most while it comes. */
const MOVES = 0.1
/** Stops of the Tab key that are looked at. */
const STOPS = 24

/** Whatever cannot be pressed says why: buttons by a description, entries of menus beside their word. */
export async function reasons(page, where, say) {
  const mute = await page
    .locator('button:disabled, button[aria-disabled=true]:not([aria-busy]), [role=menuitem][data-disabled]')
    .evaluateAll((all) => all.filter((b) => !(document.getElementById(b.getAttribute('aria-describedby') ?? '') ?? b.querySelector('.why'))?.textContent.trim()).map((b) => b.outerHTML.slice(0, 160)))
  say(!mute.length, `${where}: cannot be pressed and does not say why: ${mute.join('\n')}`)
}

export async function habits({ browser, context, page, url, run, go, step, say, api, confirm, pickAction, listen, patience }) {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: url })
  const project = (await api('GET', `projects?search=p-${run}&scope=system`)).data.data[0]

  await step('nothing moves while a page comes', async () => {
    const figures = []
    for (const path of ['/', '/servers', '/servers/new', '/profile']) {
      await go(path)
      const { value, causes } = await settled(page)
      say(value <= MOVES, `${path} moved by ${value.toFixed(3)}: ${causes.join('; ')}`)
      figures.push(`${path} ${value.toFixed(3)}`)
    }
    console.log(`    layout shift: ${figures.join(', ')}`)
  })

  await step('by keyboard alone', async () => {
    await go('/keypairs')
    const here = () =>
      page.evaluate(() => {
        const [now, last] = [document.activeElement, window.lastStop]
        window.lastStop = now
        const style = getComputedStyle(now)
        const box = now.getBoundingClientRect()
        return {
          what: now.outerHTML.slice(0, 120), seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 && box.width > 0 && box.bottom > 0 && box.top < innerHeight,
          on: !last?.isConnected || !!(last.compareDocumentPosition(now) & Node.DOCUMENT_POSITION_FOLLOWING), inDialog: !!now.closest('[role=dialog]'), create: now.matches('[data-create]'), skip: now.matches('.skip'),
        }
      })
    // The first stop leads past the menu.
    await page.keyboard.press('Tab')
    say((await here()).skip, 'the first stop does not lead past the menu')
    await page.keyboard.press('Enter')
    await page.waitForFunction(() => document.activeElement?.id === 'main')
    await page.evaluate(() => (window.lastStop = document.activeElement))
    await page.keyboard.press('Tab')
    let at = await here()
    say(at.create, `after the menu comes ${at.what}, not what the page is for`)
    // From the top: each stop can be seen and comes after the one before it.
    await page.evaluate(() => (document.querySelector('.skip').focus(), (window.lastStop = document.activeElement)))
    for (let n = 0; n < STOPS; n++) {
      await page.keyboard.press('Tab')
      at = await here()
      say(at.seen, `the focus cannot be seen at ${at.what}`)
      say(at.on, `the focus goes back to ${at.what}`)
    }
    // A dialog takes the focus, keeps it, and gives it back.
    await page.locator('[data-create]').focus()
    await page.keyboard.press('Enter')
    await page.locator('[role=dialog]').waitFor()
    await page.waitForFunction(() => !!document.activeElement.closest('[role=dialog]'))
    for (const key of ['Tab', 'Shift+Tab'])
      for (let n = 0; n < 12; n++) {
        await page.keyboard.press(key)
        at = await here()
        say(at.inDialog, `${key} leaves the dialog for ${at.what}`)
      }
    await page.keyboard.press('Escape')
    await page.locator('[role=dialog]').waitFor({ state: 'detached' })
    await page.waitForFunction(() => document.activeElement.matches('[data-create]'))
    // A menu by its arrows.
    const views = page.locator('.top button[aria-haspopup=menu]').last()
    await views.focus()
    await page.keyboard.press('ArrowDown')
    await page.locator('[role=menu]').waitFor()
    await page.keyboard.press('ArrowDown')
    await page.waitForFunction(() => document.activeElement.matches('[role=menuitem]'))
    await page.keyboard.press('Escape')
    await page.locator('[role=menu]').waitFor({ state: 'detached' })
    await page.waitForFunction(() => document.activeElement.getAttribute('aria-haspopup') === 'menu')
    // From the palette to an action, and back to where one was.
    await go(`/projects?search=p-${run}`)
    await page.locator('.row').first().focus()
    await page.keyboard.press('Control+k')
    await page.locator('.palette input').waitFor()
    await page.keyboard.type(`edit p-${run}`)
    await page.locator(`.palette [role=option][data-highlighted]`, { hasText: `p-${run}` }).waitFor()
    await page.keyboard.press('Enter')
    await page.locator('[role=dialog] input[name=name]').waitFor()
    await page.waitForFunction(() => !!document.activeElement.closest('[role=dialog]'))
    await page.keyboard.press('Escape')
    await page.locator('[role=dialog]').waitFor({ state: 'detached' })
    await page.waitForFunction(() => document.activeElement !== document.body)
    // Rows by their arrows, one of them opened.
    await page.locator('.row').first().focus()
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('Home')
    await page.keyboard.press('Enter')
    await page.waitForURL(/\/projects\/.+/)
  })

  await step('columns and saved views outlive a reload', async () => {
    const menu = async (name, entry) => {
      await page.getByRole('button', { name, exact: true }).click()
      await page.locator('[role=menuitem]', { hasText: entry }).click()
      await page.locator('[role=menu]').waitFor({ state: 'detached' })
    }
    await go('/networks')
    const heads = () => page.locator('[role=columnheader]').allInnerTexts().then((all) => all.map((h) => h.trim()))
    const before = await heads()
    say(before.includes('Wire') && !before.includes('Zone'), `these are other columns: ${before}`)
    await menu('Columns', /^Wire$/)
    await menu('Columns', /^Zone$/)
    await page.locator('select.filter').first().selectOption('guest')
    await page.waitForURL(/server_type=guest/)
    await menu('Saved views', 'Save this view')
    await page.locator('#view-name').fill(`mine ${run}`)
    await page.locator('[role=dialog] button[type=submit]').click()
    await page.locator('[role=dialog]').waitFor({ state: 'detached' })
    await go('/networks')
    const after = await heads()
    say(!after.includes('Wire') && after.includes('Zone'), `the columns were forgotten: ${after}`)
    await menu('Saved views', new RegExp(`^mine ${run}$`))
    await page.waitForURL(/server_type=guest/)
    say((await page.locator('select.filter').first().inputValue()) === 'guest', 'the view is not what was saved')
    await page.locator('.row').first().waitFor()
    await menu('Saved views', `Forget mine ${run}`)
    await menu('Columns', /^Wire$/)
    await menu('Columns', /^Zone$/)
  })

  await step('many rows at once, and how each fared', async () => {
    const made = []
    for (const n of [1, 2]) made.push((await api('POST', 'roles', { name: `bulk-${run}-${n}`, domain_id: 'default' })).data.id)
    const own = (await api('GET', 'roles?search=admin&scope=system')).data.data.find((r) => r.name === 'admin').id
    await go('/roles')
    for (const [id, name] of [[made[0], `bulk-${run}-1`], [made[1], `bulk-${run}-2`], [own, 'admin']]) {
      const asked = (r) => new URL(r.url()).pathname.endsWith('/v1/roles') && new URL(r.url()).searchParams.get('search') === name
      const [answer] = await Promise.all([page.waitForResponse(asked), page.locator('.search input').fill(name)])
      // Rows of the list before may be there still, and go while one of them is chosen.
      const { data } = await answer.json()
      await page.waitForFunction((ids) => {
        const shown = [...document.querySelectorAll('.row[data-id]')].map((row) => row.dataset.id)
        return shown.length > 0 && shown.every((id) => ids.includes(id))
      }, data.map((r) => r.id))
      await page.locator(`[data-id="${id}"] input[type=checkbox]`).check()
    }
    // Somebody else was quicker with the second.
    await api('DELETE', `roles/${made[1]}`)
    await page.locator('[data-bulk=delete]').click()
    await confirm()
    const results = page.locator('[role=dialog] .results > li')
    await results.first().waitFor()
    const told = await results.evaluateAll((all) => all.map((li) => ({ bad: !!li.querySelector('.no'), text: li.innerText })))
    say(told.length === 3 && told.filter((r) => r.bad).length === 2, `not a result for each row: ${JSON.stringify(told)}`)
    say(told.every((r) => !r.bad || r.text.split('\n').length > 1), `a refusal without a reason: ${JSON.stringify(told)}`)
    await page.keyboard.press('Escape')
    say((await api('GET', `roles/${made[0]}`)).status === 404 && (await api('GET', `roles/${own}`)).status === 200, 'not what was told')
  })

  await step('an error says what to do, under an id that can be copied', async () => {
    await go('/keypairs?new=1')
    await page.locator('[role=dialog] input[name=name]').fill(`key-${run}`)
    const [answer] = await Promise.all([page.waitForResponse((r) => r.request().method() === 'POST' && /\/v1\/keypairs/.test(r.url())), confirm()])
    const error = page.locator('[role=dialog] .note.bad[role=alert]')
    await error.waitFor()
    const [words, id] = [await error.locator('.words').innerText(), await error.locator('code').innerText()]
    say(answer.status() === 409 && words.length > 20, `it says only: ${words}`)
    say(id.length > 7 && JSON.stringify(await answer.json()).includes(id), `${id} is not the id of the request`)
    await error.locator('.copy button').click()
    await page.waitForFunction((want) => navigator.clipboard.readText().then((have) => have === want), id)
    await page.keyboard.press('Escape')
  })

  await step('what cannot be pressed says why', async () => {
    let entries = 0
    for (const path of ['/networks', '/serverskus', '/keypairs', '/roles', '/users', '/policies', `/projects/${project.id}`]) {
      await go(path)
      if (path.split('/').length > 2) await page.locator('.main .tabs').waitFor()
      const menus = page.locator('.row [data-menu], .main .head button[aria-haspopup=menu]')
      if (!(await menus.count())) continue
      await menus.first().click()
      await page.locator('[role=menu]').waitFor()
      await reasons(page, `${path}, a menu`, say)
      entries += await page.locator('[role=menuitem]').count()
      await page.keyboard.press('Escape')
      await page.locator('[role=menu]').waitFor({ state: 'detached' })
    }
    say(entries > 10, 'there were few menus to look into')
    for (const path of ['/images/upload', '/servers/new']) {
      await go(path)
      await reasons(page, path, say)
    }
    // To a pointer too.
    await go('/images/upload')
    await page.locator('form button[type=submit]').hover()
    await page.locator('.tip').waitFor()
  })

  await step('empty lists teach', async () => {
    for (const path of ['/servers?search=there-is-none-of-this-name', '/disks?bin=1&search=there-is-none-of-this-name', '/networks?search=there-is-none-of-this-name']) {
      await go(path)
      await page.locator('.empty p').waitFor()
      const words = await page.locator('.empty').innerText()
      say(words.length > 40, `${path}: ${words}`)
    }
  })

  await step('a change can be looked back at, old beside new', async () => {
    await api('PUT', `projects/${project.id}`, { description: `before ${run}` })
    await api('PUT', `projects/${project.id}`, { description: `after ${run}` })
    await go(`/projects/${project.id}/events`)
    await page.locator('button[aria-expanded=false][aria-label]').first().waitFor()
    await page.locator('.main .plain button[aria-expanded=false]').first().click()
    const line = page.locator('.diff tbody tr', { hasText: 'description' })
    await line.waitFor()
    const cells = await line.locator('td').allInnerTexts()
    say(cells[1].includes(`before ${run}`) && cells[2].includes(`after ${run}`), `not old beside new: ${cells}`)
  })

  await step('without its stream a page asks by itself', async () => {
    await page.route('**/api/v1/live?*', (r) => r.abort())
    await go(`/projects?search=p-${run}`)
    await page.locator('.row').first().waitFor()
    await api('PUT', `projects/${project.id}`, { displayname: `asked ${run}` })
    await page.locator('.row', { hasText: `asked ${run}` }).waitFor()
    say((await page.locator('[data-link]').getAttribute('data-link')) === 'polling', 'it does not say that it asks')
    await page.unroute('**/api/v1/live?*')
    await page.reload()
    await page.locator('[data-link=live]').waitFor()
  })

  await step('the platform under its operator\'s name', async () => {
    await go('/branding')
    await page.locator('#b-name').fill('Nebel')
    await page.locator('#b-accent').fill('#0a6b31')
    await page.locator('input[type=file]').setInputFiles({ name: 'sign.svg', mimeType: 'image/svg+xml', buffer: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8" fill="#0a6b31"/></svg>') })
    await page.locator('form img[src^="data:image/"]').waitFor()
    await page.locator('form button[type=submit]').click()
    await page.locator('.toast.ok').waitFor()
    const stranger = await browser.newContext({ locale: 'en-GB', ignoreHTTPSErrors: true })
    stranger.setDefaultTimeout(patience)
    const his = await stranger.newPage()
    listen(his)
    await his.goto(`${url}/login`)
    await his.locator('h1', { hasText: /^Nebel$/ }).waitFor()
    await his.locator('.card img[src^="data:image/"]').waitFor()
    await his.waitForFunction(() => document.title === 'Nebel' && getComputedStyle(document.querySelector('button[type=submit]')).backgroundColor === 'rgb(10, 107, 49)')
    await stranger.close()
    say((await api('PUT', 'branding', { name: 'Wolke', logo: '', accent: '' })).status === 200, 'the name was not taken back')
    await go('/')
    await page.locator('.brand', { hasText: 'Wolke' }).waitFor()
  })
}

/** What somebody who may only look is shown of a row he can see, and what he is told when he tries all the same. */
export async function onlyLooks({ viewer, go, say, api }, plural, id) {
  await go(`/${plural}`, viewer)
  await viewer.locator(`[data-id="${id}"]`).waitFor()
  say(!(await viewer.locator('[data-menu], [data-bulk], .row input[type=checkbox], [data-create]').count()), `a viewer is offered actions on ${plural}`)
  await go(`/${plural}/${id}`, viewer)
  await viewer.locator('.main .tabs').waitFor()
  say(!(await viewer.locator('.main [data-action], .main .head button[aria-haspopup=menu]').count()), `a viewer is offered actions on one of ${plural}`)
  const tried = await api('DELETE', `${plural}/${id}`, undefined, viewer)
  say(tried.status === 403, `a viewer's deletion of ${plural} is answered with ${tried.status}`)
}
