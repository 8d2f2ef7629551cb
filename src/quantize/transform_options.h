// What a recipe says of a transform, apart from transform.h so that recipes need not include what
// runs models.
#pragma once

#include <string>

namespace aquatint {

// As a recipe asks for it. Each transform reads what its row of the registry names.
struct TransformOptions {
  std::string name;
  // Share of the activations' spread that weights take over, in [0, 1].
  double alpha = 0.5;
  // Whether factors may go into the rows of a projection (up, v) and not only into norms.
  bool projections = false;
  bool operator==(const TransformOptions&) const = default;
};

}  // namespace aquatint
