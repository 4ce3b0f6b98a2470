"""Renders, lints and validates the chart with Helm's own code and the schemas of Kubernetes. Prints JSON.

    helm.py render CHART        on standard input is a list in JSON of values in YAML; each has an answer of its own
    helm.py lint CHART          the values are on standard input, as YAML
    helm.py package CHART FOLDER
    helm.py validate VERSION…   the objects are on standard input, as a list in JSON
    helm.py read FILE           a file of YAML
"""

import json
import sys

import helm_python as helm
import kubernetes_validate
import yaml


def render(chart_path, text):
    """The notes of the release, and its objects; or why the chart or the values are refused."""
    try:
        values = helm.values_from_yaml(text)
        with helm.Chart.load(chart_path) as chart:
            chart.validate_schema(values)
            files = chart.render(values, name="chat", namespace="companions", revision=7, is_upgrade=True)
    except helm.HelmError as error:
        return {"refused": str(error)}
    notes = "".join(text for path, text in files.items() if path.endswith("NOTES.txt"))
    texts = (text for path, text in sorted(files.items()) if path.endswith(".yaml"))
    objects = [each for text in texts for each in yaml.safe_load_all(text) if each]
    return {"notes": notes, "objects": objects}


def lint(chart_path):
    """What `helm lint --strict` finds, without mere information."""
    report = helm.lint(chart_path, helm.values_from_yaml(sys.stdin.read()), strict=True)
    return [each for each in report["messages"] if each["severity"] > 1] + report["errors"]


def validate(versions):
    """What is wrong with each object, fields that do not exist among it."""
    found = []
    for each in json.load(sys.stdin):
        for version in versions:
            try:
                kubernetes_validate.validate(each, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(f"{version}: {each['kind']} {each['metadata']['name']}: {error.message}")
    return found


def main(command, *words):
    match command:
        case "render":
            answer = [render(words[0], text) for text in json.load(sys.stdin)]
        case "lint":
            answer = lint(*words)
        case "package":
            answer = helm.package(words[0], destination=words[1])
        case "validate":
            answer = validate(words)
        case "read":
            with open(words[0], encoding="utf-8") as file:
                answer = yaml.safe_load(file)
    json.dump(answer, sys.stdout, default=str)


main(*sys.argv[1:])
