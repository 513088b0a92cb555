// A row of a table: one component, its cells plain nodes. It is made again only when its row, its columns or its tick change.
import { defineComponent, h, type PropType } from 'vue'
import { useI18n } from '@/i18n/use'
import type { Row } from '@/api/resource'
import type { Column } from '@/resources/types'
import { shapeOf, type Tongue } from './shapes'

export default defineComponent({
  props: {
    plural: { type: String, required: true },
    columns: { type: Array as PropType<Column[]>, required: true },
    row: { type: Object as PropType<Row>, default: undefined },
    /** Goes up when the row's values change in place. */
    version: { type: Number, default: 0 },
    index: { type: Number, required: true },
    start: { type: Number, required: true },
    pick: Boolean,
    picked: Boolean,
    fresh: Boolean,
    menu: Boolean,
    to: { type: String, default: undefined },
  },
  setup(props) {
    const { t, te, locale } = useI18n()
    return () => {
      const { row, columns, plural } = props
      const tongue: Tongue = { t: t as Tongue['t'], te, locale: locale.value }
      const cells = []
      if (props.pick) cells.push(h('div', { class: 'pick', role: 'cell' }, row && [h('input', { type: 'checkbox', checked: props.picked, 'aria-label': t('ui.choose_row', { name: row.name ?? row.id }) })]))
      columns.forEach((c, i) => {
        const inner = row ? shapeOf(c, row, plural, tongue) : h('span', { class: 'ghost-bar' })
        cells.push(h('div', { key: c.key, role: 'cell', class: i === 0 ? 'name' : undefined }, [row && i === 0 && props.to ? h('a', { href: props.to, title: row.name }, [inner]) : inner]))
      })
      if (props.menu) cells.push(h('div', { class: 'last', role: 'cell' }, row && [h('button', { type: 'button', class: 'btn ghost icon small dots', 'data-menu': '', 'aria-haspopup': 'menu', 'aria-expanded': 'false', 'aria-label': t('ui.actions_of', { name: row.name ?? row.id }) })]))
      return h(
        'div',
        {
          class: props.fresh ? 'tr row fresh' : 'tr row', role: 'row', tabindex: 0, 'data-index': props.index, 'data-id': row?.id, 'aria-rowindex': props.index + 2,
          'aria-selected': row && props.pick ? props.picked : undefined, style: { transform: `translateY(${props.start}px)` },
        },
        cells,
      )
    }
  },
})
