// Notes while bundling which packages end up in the pages, for dev/licenses.mjs. The file begins with a dot: it is not served.
export const NOTE = 'dist/.packages.json'

export const shipped = () => ({
  name: 'shipped',
  generateBundle(_, bundle) {
    const found = new Set()
    for (const chunk of Object.values(bundle))
      for (const [id, module] of Object.entries(chunk.modules ?? {})) {
        // The last node_modules of a path is that of the package itself; a scope is part of its name. Styles render to nothing here, and ship.
        const path = /^[^?\0]*?((?:\/?node_modules\/(?:@[^/]+\/)?[^/]+)+)\//.exec(id.replaceAll('\\', '/'))?.[1]
        if (path && (module.renderedLength !== 0 || /\.css/.test(id))) found.add(path.replace(/^\//, ''))
      }
    this.emitFile({ type: 'asset', fileName: '.packages.json', source: JSON.stringify([...found].sort()) })
  },
})
