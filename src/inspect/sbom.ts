import { ComponentType, ExternalReferenceType } from '@cyclonedx/cyclonedx-library/Enums'
import {
  Bom,
  Component,
  ExternalReference,
  Metadata,
  NamedLicense,
  OrganizationalEntity,
  Property,
  SpdxLicense,
  Tools,
  ComponentRepository,
} from '@cyclonedx/cyclonedx-library/Models'
import { JSON as CycloneJson, JsonSerializer } from '@cyclonedx/cyclonedx-library/Serialize'
import { Spec1dot6 } from '@cyclonedx/cyclonedx-library/Spec'
import { isSupportedSpdxId } from '@cyclonedx/cyclonedx-library/SPDX'
import { PackageURL } from 'packageurl-js'
import type { Digest } from '../domain/digest.ts'
import type { Source } from '../domain/statement.ts'
import type { Distribution, Package } from './packages.ts'

export type SbomInput = {
  artifact: Digest
  source: Source
  distribution: Distribution
  packages: readonly Package[]
  /** Kiln's own version, the tool that made this. */
  version: string
}

/**
 * A CycloneDX 1.6 document as JSON. The same input always gives the same bytes: lists are sorted, the
 * time is the commit's, there is no serial number, and every component goes by its package URL.
 */
export function makeSbomDocument(input: SbomInput): { bytes: Uint8Array; components: number } {
  const { artifact, source, version } = input
  const bom = new Bom({
    metadata: new Metadata({
      timestamp: new Date(source.committedAt * 1000),
      tools: new Tools({
        components: new ComponentRepository([
          new Component(ComponentType.Application, 'kiln', { version }),
        ]),
      }),
      component: new Component(ComponentType.Container, artifact, {
        bomRef: artifact,
        version: source.commit,
      }),
    }),
  })
  bom.metadata.component?.externalReferences.add(
    new ExternalReference(source.repository, ExternalReferenceType.VCS, {
      comment: `commit ${source.commit}`,
    }),
  )
  const found = new Map<string, Component>()
  for (const one of input.packages) {
    const component = componentOf(one, input.distribution)
    found.set(component.purl ?? '', component)
  }
  for (const component of found.values()) bom.components.add(component)
  const serializer = new JsonSerializer(new CycloneJson.Normalize.Factory(Spec1dot6))
  const text = serializer.serialize(bom, { sortLists: true })
  return { bytes: new TextEncoder().encode(text), components: found.size }
}

function componentOf(one: Package, distribution: Distribution): Component {
  switch (one.kind) {
    case 'debian':
      return debianComponent(one, distribution)
    case 'npm':
      return npmComponent(one)
    case 'node': {
      const version = one.version ?? undefined
      const purl = new PackageURL('generic', undefined, 'node', version, undefined, undefined)
      return named(new Component(ComponentType.Platform, 'node'), purl, one.version)
    }
  }
}

function debianComponent(
  one: Extract<Package, { kind: 'debian' }>,
  { id, codename }: Distribution,
): Component {
  const qualifiers = {
    arch: one.architecture,
    ...(codename === null ? {} : { distro: codename }),
  }
  const purl = new PackageURL('deb', id, one.name, one.version, qualifiers, undefined)
  const component = named(new Component(ComponentType.Library, one.name), purl, one.version)
  if (one.maintainer !== null) {
    component.supplier = new OrganizationalEntity({ name: one.maintainer })
  }
  component.properties.add(new Property('kiln:debian:source', one.source))
  return component
}

function npmComponent({ name, version, license }: Extract<Package, { kind: 'npm' }>): Component {
  const [scope, own] = name.startsWith('@') ? name.split('/') : [undefined, name]
  const purl = new PackageURL('npm', scope, own ?? name, version ?? undefined, undefined, undefined)
  const component = named(new Component(ComponentType.Library, own ?? name), purl, version)
  if (scope !== undefined) component.group = scope
  if (license !== null && license !== '') {
    component.licenses.add(
      isSupportedSpdxId(license) ? new SpdxLicense(license) : new NamedLicense(license),
    )
  }
  return component
}

function named(component: Component, purl: PackageURL, version: string | null): Component {
  component.purl = purl.toString()
  component.bomRef.value = component.purl
  if (version !== null) component.version = version
  return component
}
