// Puts into a platform what pictures show: an image, servers that run and one that does not, a project with its quota, a user, a change to look back at.
import { readFileSync } from 'node:fs'

const PATIENCE = 240_000

/** `page` is logged in as an administrator of the whole platform; `image` names a disk that boots. What is there already stays. */
export async function fill(page, url, image) {
  const ask = async (method, path, body) => {
    const answer = await page.evaluate(
      async ([m, to, b]) => {
        const reply = await fetch(`/api/v1/${to}`, { method: m, headers: { 'content-type': 'application/json' }, body: b ? JSON.stringify(b) : undefined })
        const text = await reply.text()
        return { status: reply.status, data: text ? JSON.parse(text) : null }
      },
      [method, path, body],
    )
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.data)}`)
    return answer.data
  }
  const named = async (plural, name) => (await ask('GET', `${plural}?name=${name}&scope=system&limit=1`)).data?.[0]
  const have = async (plural, name, body) => (await named(plural, name)) ?? ask('POST', plural, { name, ...body })
  const until = async (plural, id, words) => {
    for (const began = Date.now(); ; await new Promise((on) => setTimeout(on, 300))) {
      const { status, status_reason: why } = await ask('GET', `${plural}/${id}`)
      if (words.includes(status)) return
      if (Date.now() - began > PATIENCE || /fail/.test(status)) throw new Error(`${plural} ${id} is ${status}, not ${words}: ${why}`)
    }
  }

  let disk = await named('images', 'debian-12')
  if (!disk) {
    const answer = await page.context().request.post(`${url}/api/v1/imageutils/upload`, {
      headers: { origin: url },
      multipart: { name: 'debian-12', disk_format: 'qcow2', os_arch: 'x86_64', 'properties.os_type': 'Linux', 'properties.os_distribution': 'Debian', image: { name: 'debian-12.qcow2', mimeType: 'application/octet-stream', buffer: readFileSync(image) } },
    })
    if (!answer.ok()) throw new Error(`the image was not taken: ${await answer.text()}`)
    disk = await answer.json()
  }
  await until('images', disk.id, ['active'])
  const key = await have('keypairs', 'alice', {})
  const shop = await have('projects', 'shop', { description: 'The shop and what it stands on' })
  await have('projects', 'archive', {})
  await have('users', 'nina', { displayname: 'Nina Example', email: 'nina@example.org', password: 'Correct-horse-9', allow_web_console: true })
  const limits = { count: 20, cpu: 40, memory: 65_536, storage: 1_048_576 }
  if (!(await ask('GET', 'quotas?scope=system&limit=50')).data?.some((q) => q.tenant_id === shop.id)) await ask('POST', 'quotas', { project_id: shop.id, ...limits })
  for (const [name, words] of [['web-1', { running: true }], ['web-2', { running: true }], ['db-1', {}], ['old-1', { gone: true }]]) {
    if (await named('servers', name)) continue
    const root = { index: 0, size: 10_240, image_id: disk.id }
    const made = await ask('POST', 'servers', { name, vcpu_count: 1, vmem_size: 128, disks: words.running ? [root] : [root, { index: 1, size: 2048 }], nets: ['default'], keypair_id: key.id, auto_start: !!words.running, disable_delete: false })
    await until('servers', made.id, [words.running ? 'running' : 'ready'])
    if (name === 'db-1') await ask('PUT', `servers/${made.id}`, { description: 'Orders and customers' })
    if (words.gone) await ask('DELETE', `servers/${made.id}`)
  }
}
