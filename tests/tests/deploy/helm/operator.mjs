// Prints what is wrong with objects of the Prometheus operator, one problem a line. The objects are on standard input, as a list
// in JSON. Runs from the folder that has the packages.

import { readFileSync } from 'node:fs';
import * as models from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';

for (const object of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    new models[object.kind](object).validate();
  } catch (error) {
    console.log(`${object.kind} ${object.metadata.name}: ${error.message}`);
  }
}
