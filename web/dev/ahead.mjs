// Has the page ask for a module's files at once, which the first script would ask for only when it runs.
export const ahead = (module) => ({
  name: 'ahead',
  transformIndexHtml: {
    order: 'post',
    handler(html, { bundle }) {
      const chunks = Object.values(bundle ?? {}).filter((c) => c.type === 'chunk')
      const of = (name) => chunks.find((c) => c.fileName === name)
      const found = chunks.find((c) => c.facadeModuleId?.endsWith(module)) ?? chunks.find((c) => Object.keys(c.modules).some((id) => id.endsWith(module)))
      const files = new Set()
      const walk = (chunk) => {
        if (!chunk || files.has(chunk.fileName)) return
        files.add(chunk.fileName)
        chunk.imports.forEach((name) => walk(of(name)))
      }
      walk(found)
      return [...files].filter((f) => !html.includes(f)).map((f) => ({ tag: 'link', attrs: { rel: 'modulepreload', crossorigin: true, href: `/${f}` }, injectTo: 'head' }))
    },
  },
})
