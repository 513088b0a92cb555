// The two kinds of console over a WebSocket that carries raw bytes. Loaded when a console is opened.
import RFB from '@novnc/novnc'
import { FitAddon } from '@xterm/addon-fit'
import { Terminal } from '@xterm/xterm'
import '@xterm/xterm/css/xterm.css'

type Told = (state: 'open' | 'closed') => void

export async function screen(box: HTMLElement, url: string, told: Told) {
  const rfb = new RFB(box, url, { wsProtocols: ['binary'] })
  rfb.scaleViewport = true
  rfb.background = '#0b0d11'
  rfb.addEventListener('connect', () => told('open'))
  rfb.addEventListener('disconnect', () => told('closed'))
  rfb.addEventListener('clipboard', (e: CustomEvent<{ text: string }>) => void navigator.clipboard?.writeText(e.detail.text).catch(() => undefined))
  return {
    // A guest without a clipboard of its own gets the text typed.
    paste: (text: string) => [...text].forEach((c) => rfb.sendKey(c === '\n' ? 0xff0d : c.codePointAt(0)! < 256 ? c.codePointAt(0)! : 0x01000000 + c.codePointAt(0)!, '')),
    cad: () => rfb.sendCtrlAltDel(),
    focus: () => rfb.focus(),
    close: () => rfb.disconnect(),
  }
}

/**
 * The terminal writes its colours into style elements, which the page's policy refuses. While it opens, such an element is one whose text
 * goes into a constructed style sheet instead: those are scripts' own and allowed.
 */
function withSheets(work: () => void) {
  const make = document.createElement
  document.createElement = function (this: Document, tag: string, options?: ElementCreationOptions) {
    if (tag !== 'style') return make.call(this, tag, options)
    const sheet = new CSSStyleSheet()
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet]
    const element = make.call(this, 'span')
    Object.defineProperty(element, 'textContent', { set: (css: string) => sheet.replaceSync(css) })
    return element
  } as typeof document.createElement
  try {
    work()
  } finally {
    document.createElement = make
  }
}

export async function terminal(box: HTMLElement, url: string, told: Told) {
  const term = new Terminal({ fontSize: 13, cursorBlink: true, scrollback: 5000, theme: { background: '#0b0d11' } })
  const fit = new FitAddon()
  term.loadAddon(fit)
  withSheets(() => term.open(box))
  fit.fit()
  const watcher = new ResizeObserver(() => fit.fit())
  watcher.observe(box)
  const socket = new WebSocket(url, ['binary'])
  socket.binaryType = 'arraybuffer'
  const bytes = new TextEncoder()
  socket.onopen = () => (told('open'), term.focus())
  socket.onclose = () => told('closed')
  socket.onmessage = (e) => term.write(typeof e.data === 'string' ? e.data : new Uint8Array(e.data))
  term.onData((text) => socket.readyState === WebSocket.OPEN && socket.send(bytes.encode(text)))
  return {
    paste: (text: string) => term.paste(text),
    focus: () => term.focus(),
    close: () => (watcher.disconnect(), socket.close(), term.dispose()),
  }
}
