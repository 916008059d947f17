"""What ppa-dev-tools, as it is published, reads of a site: SITE OWNER NAME. Prints it as JSON."""

import json
import sys

import ppa.constants

site, owner, name = sys.argv[1:]
# The one address that it has, before the other modules take it from there.
ppa.constants.URL_AUTOPKGTEST = site

from ppa.ppa import Ppa

of = Ppa(ppa_name=name, owner_name=owner, service=None)
releases, arches = ["noble"], ["amd64", "armhf"]


def job(job):
    return [job.source_package, job.series, job.arch, job.triggers, job.ppas]


read = {
    "results": [
        {
            "triggers": trigger,
            "run": [result.source, result.series, result.arch, result.status, [s.desc for s in result.get_subtests()]],
        }
        for triggers in of.get_autopkgtest_results(releases, arches)
        for trigger, results in triggers.items()
        for result in results
    ],
    "running": [job(j) for j in of.get_autopkgtest_running(releases)],
    "waiting": [[j.number, job(j)] for j in of.get_autopkgtest_waiting(releases)],
}
print(json.dumps(read))
