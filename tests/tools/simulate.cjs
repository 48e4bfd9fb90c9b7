// Decides with @cloud-copilot/iam-simulate what standard input asks: [{action, resources, context, policies}, ...].
// Prints [{allowed, faults}, ...]; a permission is allowed when it is for one of the spellings of its resource.
const { readFileSync } = require("node:fs")
const { runSimulation } = require("@cloud-copilot/iam-simulate")

async function decided({ principal, action, resources, context, policies }) {
  const answers = []
  for (const resource of resources) {
    answers.push(
      await runSimulation(
        {
          request: { principal, action, resource: { resource, accountId: principal.split(":")[4] }, contextVariables: context },
          identityPolicies: policies.map((policy, number) => ({ name: `policy-${number}`, policy })),
          serviceControlPolicies: [],
          resourceControlPolicies: [],
        },
        {},
      ),
    )
  }
  const judged = answers.filter((answer) => answer.resultType !== "error")
  return {
    allowed: judged.some((answer) => answer.overallResult === "Allowed"),
    faults: judged.length ? [] : answers.map((answer) => answer.errors),
  }
}

const asked = JSON.parse(readFileSync(0, "utf8"))
Promise.all(asked.map(decided)).then((answers) => console.log(JSON.stringify(answers)))
