// The import rules of docs/architecture.md. Each carries its reason; test/main/import-rules.test.ts
// shows that each one bites.

const leaves = 'oci|docker|store'
const rooms = 'source|template|build|inspect|ledger|registry|promote|retention|runtime|edge|api'
/** Everything of Kiln's own, as opposed to npm packages and node: modules. */
const own = '^(src|signing|workflows|scripts|test)/'

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    {
      name: 'domain-imports-nothing',
      comment:
        'The rules of Kiln are pure: the same in a host, a workflow sandbox, a browser and an auditor’s hands. An npm package or a node: module would end that.',
      severity: 'error',
      from: { path: '^src/domain/' },
      to: { pathNot: '^src/domain/' },
    },
    {
      name: 'signing-reads-alone',
      comment:
        'An auditor reads signing/ and the domain and knows how a signature is checked. Nothing else of Kiln may take part in that.',
      severity: 'error',
      from: { path: '^signing/' },
      to: { path: own, pathNot: '^(signing|src/domain)/' },
    },
    {
      name: 'leaves-stay-leaves',
      comment:
        'Every room may import oci, docker and store; if one of them imported a room, rooms would be joined through it.',
      severity: 'error',
      from: { path: `^src/(${leaves})/` },
      to: { path: own, pathNot: `^src/(domain|${leaves})/` },
    },
    {
      name: 'rooms-do-not-import-each-other',
      comment:
        'A room is understood, tested and replaced alone. Workflows and src/main join rooms; a room that needs an answer of another declares a port.',
      severity: 'error',
      from: { path: `^src/(${rooms})/` },
      to: { path: own, pathNot: [`^src/(domain|${leaves})/`, '^signing/', '^src/$1/'] },
    },
    {
      name: 'clients-see-only-the-contract',
      comment:
        'The command line and the dashboard speak HTTP. Importing a room would let them do what only the server may, past authorize().',
      severity: 'error',
      from: { path: '^src/(cli|dashboard)/' },
      to: {
        path: own,
        pathNot: [
          '^src/domain/',
          '^src/$1/',
          '^src/api/(contract|client)\\.ts$',
          '^src/main/local\\.ts$',
        ],
      },
    },
    {
      name: 'the-contract-stays-thin',
      comment:
        'The contract and its client are loaded by every client: what they import, `kiln --help` and the browser load too.',
      severity: 'error',
      from: {
        path: '^src/api/(contract|client|route|route-parts|ledger-routes|signing-routes|views|log-entry-view|verification-view|webhook-view)\\.ts$',
      },
      to: {
        path: own,
        pathNot:
          '^src/(domain/|api/(contract|client|route|route-parts|ledger-routes|signing-routes|views|log-entry-view|verification-view|webhook-view)\\.ts$)',
      },
    },
    {
      name: 'local-verbs-are-loaded-late',
      comment:
        'Only the entry of the command line may reach src/main/local.ts (up, verify, fsck, restore, doctor), and only by import(): `kiln --help` must not load the whole of Kiln.',
      severity: 'error',
      from: { path: '^src/(cli|dashboard)/' },
      to: { path: '^src/main/local\\.ts$', dynamic: false, dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'only-the-entry-loads-local-verbs',
      comment: 'One door between the command line and the composition roots.',
      severity: 'error',
      from: { path: '^src/(cli|dashboard)/', pathNot: '^src/cli/main\\.ts$' },
      to: { path: '^src/main/' },
    },
    {
      name: 'workflows-import-rooms-as-types',
      comment:
        'Workflow code is bundled, sandboxed and replayed: it calls rooms as activities and may know only their types.',
      severity: 'error',
      from: { path: '^workflows/' },
      to: {
        path: own,
        pathNot: '^(workflows|src/domain)/',
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'workflows-stay-deterministic',
      comment:
        'A node: module in a workflow reads a clock, a disk or a network that a replay has not.',
      severity: 'error',
      from: { path: '^workflows/' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'nobody-imports-main',
      comment:
        'Composition roots are the end of the chain: they build everything and are built by nobody.',
      severity: 'error',
      from: { path: '^(src|signing|workflows)/', pathNot: '^src/(main|cli)/' },
      to: { path: '^src/main/' },
    },
    {
      name: 'products-do-not-import-tests',
      comment: 'What runs must not depend on what only checks it.',
      severity: 'error',
      from: { path: '^(src|signing|workflows)/' },
      to: { path: '^(test|scripts)/' },
    },
    {
      name: 'the-checker-shares-nothing',
      comment:
        'What judges Kiln’s promises reads what Kiln left, by its documented formats: a fault in code that both used would hide itself.',
      severity: 'error',
      from: { path: '^scripts/chaos/checker/' },
      to: { path: own, pathNot: '^scripts/chaos/checker/' },
    },
    {
      name: 'no-cycles',
      comment: 'Files that import each other can only be understood, and loaded, together.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'nothing-unresolvable',
      comment:
        'An import that leads nowhere fails at run time, and hides from every other rule here.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^test/(fixtures|mutants|histories)/' },
    // Type-only imports count, and are told apart from the others.
    tsPreCompilationDeps: 'specify',
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'types'],
    },
  },
}
