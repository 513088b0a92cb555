// The platform's name, logo and colour, as its operator set them; known before login.
import { reactive } from 'vue'
import { get } from './api/http'
import cloud from './assets/cloud.svg'

export interface Branding { name: string; logo: string; accent: string }
export const branding = reactive<Branding>({ name: 'Wolke', logo: '', accent: '' })
export const logo = () => branding.logo || cloud

const luminance = (hex: string) => {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}
/** Contrast of two colours `#rrggbb`, 1 to 21. */
export function contrast(a: string, b: string): number {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x)
  return (high + 0.05) / (low + 0.05)
}
/** A colour that can be read: as ink on white and with white ink on it. */
export const legible = (accent: string) => /^#[0-9a-f]{6}$/i.test(accent) && contrast(accent, '#ffffff') >= 4.5

export function wear(b: Partial<Branding>) {
  Object.assign(branding, { name: b.name || 'Wolke', logo: b.logo?.startsWith('data:image/') ? b.logo : '', accent: legible(b.accent ?? '') ? b.accent! : '' })
  const root = document.documentElement.style
  // On dark ground the colour is lightened, so that it stays readable.
  for (const name of ['--accent', '--accent-text', '--accent-ink']) root.removeProperty(name)
  if (branding.accent) {
    root.setProperty('--accent', `light-dark(${branding.accent}, color-mix(in srgb, ${branding.accent} 45%, #ffffff))`)
    root.setProperty('--accent-text', `light-dark(color-mix(in srgb, ${branding.accent} 78%, #000000), color-mix(in srgb, ${branding.accent} 45%, #ffffff))`)
    root.setProperty('--accent-ink', 'light-dark(#ffffff, #0b1020)')
  }
  document.title = branding.name
}
export const loadBranding = () => get<Branding>('/v1/branding').then(wear).catch(() => undefined)
