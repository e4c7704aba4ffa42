import { Group, NumberInput, Select, Stack, TagsInput } from '@mantine/core'
import {
  decidePolicy,
  type LimitName,
  NUMBER_LIMITS,
  type NumberLimit,
  type PolicyLayers,
  type PolicyScope,
} from '@rap/session-policy'
import type { ReactNode } from 'react'
import { limitText } from './limit-text.ts'
import {
  isKind,
  LIMIT_CHOICES,
  type LimitChoice,
  type LimitForm,
  mayBeNone,
  mistakeOf,
  type PolicyForm,
  plainKind,
  unitsOf,
} from './policy-form.ts'
import { ABOVE, LIMIT_WORDS } from './words.ts'

interface LimitFieldsProps {
  readonly scope: PolicyScope
  readonly above: PolicyLayers
  readonly form: PolicyForm
  readonly disabled: boolean
  onChange(change: Partial<PolicyForm>): void
}

/** One line for each limit: left to the scope above, or a value. */
export function LimitFields({ scope, above, form, disabled, onChange }: LimitFieldsProps) {
  const decision = decidePolicy(above)
  return (
    <Stack gap="sm">
      {NUMBER_LIMITS.map(name => (
        <LimitField
          key={name}
          name={name}
          scope={scope}
          left={`${ABOVE[scope]}: ${limitText(name, decision)}`}
          value={form.limits[name]}
          disabled={disabled}
          onChange={value => onChange({ limits: { ...form.limits, [name]: value } })}
        />
      ))}
      <Kinds
        scope={scope}
        left={`${ABOVE[scope]}: ${limitText('upload_extensions', decision)}`}
        value={form.kinds}
        disabled={disabled}
        onChange={kinds => onChange({ kinds })}
      />
    </Stack>
  )
}

interface LimitFieldProps {
  readonly name: NumberLimit
  readonly scope: PolicyScope
  /** What holds where nothing is said here. */
  readonly left: string
  readonly value: LimitForm
  readonly disabled: boolean
  onChange(value: LimitForm): void
}

function LimitField({ name, scope, left, value, disabled, onChange }: LimitFieldProps) {
  const units = unitsOf(name)
  const { label } = LIMIT_WORDS[name]
  return (
    <LimitLine
      name={name}
      options={{ as_above: left, none: mayBeNone(name, scope) ? 'No limit' : undefined, set: 'At most …' }}
      choice={value.choice}
      disabled={disabled}
      onChoice={choice => onChange({ ...value, choice })}
    >
      {value.choice === 'set' && (
        <Group gap={4} wrap="nowrap" align="flex-start" flex="1 1 12rem">
          <NumberInput
            aria-label={`${label}: at most`}
            min={1}
            thousandSeparator
            flex={1}
            disabled={disabled}
            value={value.amount}
            error={mistakeOf(name, value)}
            onChange={amount => onChange({ ...value, amount })}
          />
          {units.length > 1 && (
            <Select
              aria-label={`${label}: unit`}
              w={110}
              allowDeselect={false}
              disabled={disabled}
              data={units.map(unit => ({ value: String(unit.size), label: unit.label }))}
              value={value.unit}
              onChange={unit => onChange({ ...value, unit: unit ?? value.unit })}
            />
          )}
        </Group>
      )}
    </LimitLine>
  )
}

interface KindsProps {
  readonly scope: PolicyScope
  /** What holds where nothing is said here. */
  readonly left: string
  readonly value: PolicyForm['kinds']
  readonly disabled: boolean
  onChange(value: PolicyForm['kinds']): void
}

function Kinds({ scope, left, value, disabled, onChange }: KindsProps) {
  return (
    <LimitLine
      name="upload_extensions"
      options={{ as_above: left, none: scope === 'organization' ? 'All kinds' : undefined, set: 'Only …' }}
      choice={value.choice}
      disabled={disabled}
      onChoice={choice => onChange({ ...value, choice })}
    >
      {value.choice === 'set' && (
        <TagsInput
          aria-label="Kinds that may be sent"
          placeholder={value.list.length === 0 ? 'pdf, docx' : ''}
          flex="1 1 12rem"
          maxTags={100}
          splitChars={[',', ' ', ';']}
          disabled={disabled}
          value={[...value.list]}
          onChange={list => onChange({ ...value, list: [...new Set(list.filter(isKind).map(plainKind))] })}
        />
      )}
    </LimitLine>
  )
}

interface LimitLineProps {
  readonly name: LimitName
  /** The words of each choice; undefined for one that is not there. */
  readonly options: Readonly<Record<LimitChoice, string | undefined>>
  readonly choice: LimitChoice
  readonly disabled: boolean
  /** What the limit is set to. */
  readonly children: ReactNode
  onChoice(choice: LimitChoice): void
}

/** What is said of a limit, and beside it the value where it is set here. */
function LimitLine({ name, options, choice, disabled, children, onChoice }: LimitLineProps) {
  const { label, description } = LIMIT_WORDS[name]
  return (
    <Group align="flex-end" gap="xs" data-limit={name}>
      <Select
        label={label}
        description={description}
        flex="1 1 14rem"
        allowDeselect={false}
        disabled={disabled}
        data={LIMIT_CHOICES.flatMap(value => {
          const words = options[value]
          return words === undefined ? [] : [{ value, label: words }]
        })}
        value={choice}
        onChange={chosen => onChoice((chosen ?? 'as_above') as LimitChoice)}
      />
      {children}
    </Group>
  )
}
