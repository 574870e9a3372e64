#pragma once

#include "peft/registry.h"

/// Methods that train the head first and more of the model later. What comes out is a whole model.
namespace dtrain::peft {

/// Linear probing, then fine-tuning of everything from there (Kumar et al., 2022, ICLR): so that a head that knows
/// nothing does not distort the features.
MethodKind lp_ft_kind();

/// Gradual unfreezing (Howard and Ruder, 2018, ACL): the head, then one more layer from the top at a time, then
/// everything.
MethodKind gradual_kind();

}  // namespace dtrain::peft
