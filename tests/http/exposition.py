"""Reads the metrics with the parser of the Prometheus client for Python, which is strict about OpenMetrics.

Usage: exposition.py URL. Prints the names of all families as its last line.
"""

import json
import sys
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

with urllib.request.urlopen(sys.argv[1]) as answer:
    text = answer.read().decode()
families = list(text_string_to_metric_families(text))
assert all(family.documentation and family.samples for family in families), families
print(json.dumps(sorted(family.name for family in families)))
