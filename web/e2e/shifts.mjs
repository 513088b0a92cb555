// How much of a page moves while it comes: the cumulative layout shift of the browser's own figures (https://web.dev/articles/cls). What follows an
// input of the user within half a second is not counted.

/** Runs in the page, before its own scripts. */
export function watchShifts() {
  window.shifts = []
  const name = (n) => (n?.nodeType === 1 ? `${n.tagName.toLowerCase()}${n.id ? `#${n.id}` : ''}${typeof n.className === 'string' && n.className ? `.${n.className.trim().replace(/\s+/g, '.')}` : ''}` : n?.nodeName ?? 'gone')
  new PerformanceObserver((list) => {
    for (const e of list.getEntries())
      if (!e.hadRecentInput) window.shifts.push({ at: e.startTime, value: e.value, causes: e.sources.map((s) => `${name(s.node)} ${Math.round(s.previousRect.x)},${Math.round(s.previousRect.y)} → ${Math.round(s.currentRect.x)},${Math.round(s.currentRect.y)}`) })
  }).observe({ type: 'layout-shift', buffered: true })
}

/** A page has come when nothing has moved and no answer has come for so long, ms. What waits for an idle moment has come by then, unless the machine is busy. */
const STILL = 500
const LEAST = 1200

/** Waits until the page has come; the largest sum of shifts that follow each other within a second, five seconds at most, and what moved. */
export async function settled(page) {
  await page.waitForFunction(([still, least]) => {
    const answers = performance.getEntriesByType('resource').filter((r) => !r.name.includes('/live')).map((r) => r.responseEnd)
    return performance.now() > least && performance.now() - Math.max(0, ...window.shifts.map((s) => s.at), ...answers) > still
  }, [STILL, LEAST], { polling: 100 })
  const shifts = await page.evaluate(() => window.shifts)
  let [value, began, last, sum] = [0, 0, -Infinity, 0]
  for (const s of shifts) {
    if (s.at - last > 1000 || s.at - began > 5000) [began, sum] = [s.at, 0]
    last = s.at
    sum += s.value
    value = Math.max(value, sum)
  }
  return { value, causes: [...new Set(shifts.flatMap((s) => s.causes))].slice(0, 12) }
}
