// Plain links lead through the router: where a page has many, a component for each would cost more than the page.
import type { Router } from 'vue-router'

export function watchLinks(router: Router) {
  document.addEventListener('click', (e) => {
    if (e.defaultPrevented || e.button || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey || !(e.target instanceof Element)) return
    const link = e.target.closest<HTMLAnchorElement>('a[href^="/"]')
    if (!link || link.target || link.hasAttribute('download') || link.pathname.startsWith('/api/') || link.origin !== location.origin) return
    e.preventDefault()
    void router.push(link.getAttribute('href')!)
  })
}
